"""How well long videos hold together: rows, metrics, results, tables and pictures of scripts/ablate_long.py."""

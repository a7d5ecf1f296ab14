"""How well long videos hold together: rows, metrics, tables, pictures of scripts/ablate_long.py."""

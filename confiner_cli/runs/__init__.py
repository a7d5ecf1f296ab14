"""Runs: a job carried out, written down as it goes, and gone on with after a kill."""

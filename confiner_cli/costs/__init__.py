"""Costs: what a run would take, known before anything is loaded. No torch."""

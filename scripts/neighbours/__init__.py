"""Runs measured in processes of their own: beside busy programs, under quotas, by size."""

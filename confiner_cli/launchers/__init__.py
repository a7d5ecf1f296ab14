"""Launchers: the jobs of a sweep on SLURM, on Ray, or in several processes. Others distribute."""

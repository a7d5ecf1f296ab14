"""Placeholder."""

SOLVERS = {"ddim": None, "dpmpp_2m": None, "unipc": None}

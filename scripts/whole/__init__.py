"""Where the seconds of a whole process go, for `scripts/bench.py`."""

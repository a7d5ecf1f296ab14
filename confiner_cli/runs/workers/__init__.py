"""One run on many workers."""

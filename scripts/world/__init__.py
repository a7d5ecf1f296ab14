"""A procedural world with captions: what the embedded experts are trained and judged on."""

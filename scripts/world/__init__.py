"""A procedural world with captions: the ground truth that the embedded experts are trained and judged on."""

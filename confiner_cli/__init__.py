"""confiner: videos from text by a chain of ready-made diffusion experts (ConFiner, arXiv 2408.13423)."""

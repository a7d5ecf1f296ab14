"""Random numbers for networks that have no files."""

from __future__ import annotations

import torch
from torch import Tensor

ONES = ("weight", "gamma")
"""What norms scale by; the gammas of Wan's VAE are tables."""


def fill(name: str, values: Tensor, random: torch.Generator) -> Tensor:
    """A layer's `weight`, `bias` or table, filled in place.

    Matrices and kernels are normal with variance 1 / fan-in, norms 1, biases 0.
    """
    if values.ndim < 2 or name == "gamma":
        return values.fill_(1 if name in ONES else 0)
    return values.normal_(std=values[0].numel() ** -0.5, generator=random)

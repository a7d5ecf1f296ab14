"""Levels of noise, which samples are at and walks go between. No torch at run time: a plan is made without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Level(NamedTuple):
    """How much of a noised sample is signal and how much is noise; signal in (0, 1], noise in [0, 1)."""

    signal: float
    noise: float

    def mix(self, clean: Tensor, eps: Tensor) -> Tensor:
        """`signal * clean + noise * eps`: eq. 6 of the paper, and every DDIM and Euler step (any shape)."""
        return self.signal * clean + self.noise * eps


CLEAN = Level(signal=1.0, noise=0.0)
"""A destination of its own, not the first entry of a table (whose noise is 0.03 for Stable Diffusion)."""

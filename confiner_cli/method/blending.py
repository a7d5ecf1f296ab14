"""Two estimates of one sample made into one: of the same sample, any linear mixture of them is an estimate again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from confiner_cli.method.estimate import Estimate

REACH = 3
"""Slow is what remains in a mean over this many frames before and after each: 7 frames."""


def averaged_estimates(first: Estimate, second: Estimate) -> Estimate:
    """The mean of both; it cost what the second did."""
    return replace(
        second, clean=(first.clean + second.clean) / 2, noise=(first.noise + second.noise) / 2
    )


def split_by_frequency(first: Estimate, second: Estimate, slow_from_second: bool) -> Estimate:
    """What changes slowly along the frames from one estimate, and what changes fast from the other."""
    slow, fast = (second, first) if slow_from_second else (first, second)
    clean, noise = (
        own + slowly(other - own)
        for own, other in ((fast.clean, slow.clean), (fast.noise, slow.noise))
    )
    return replace(second, clean=clean, noise=noise)


def slowly(latents: Tensor) -> Tensor:
    """The mean over each frame's neighbourhood, fewer at the ends: `(batch, channel, frame, height, width)`."""
    count = latents.shape[2]
    near = [
        [float(abs(frame - other) <= REACH) for other in range(count)] for frame in range(count)
    ]
    weights = latents.new_tensor([[value / sum(row) for value in row] for row in near])
    return (latents.movedim(2, -1) @ weights.T).movedim(-1, 2)

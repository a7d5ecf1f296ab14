"""Two estimates of one sample made into one.

Of the same sample, any linear mixture of estimates (whose weights sum to one) is an estimate again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from confiner_cli.method.estimate import Estimate

if TYPE_CHECKING:
    from torch import Tensor

RADIUS = 3
"""Slow is what remains in a mean over this many frames before and after each: 7 frames."""


def averaged_estimates(first: Estimate, second: Estimate) -> Estimate:
    """The mean of both; it cost what the second did."""
    clean, noise = (first.clean + second.clean) / 2, (first.noise + second.noise) / 2
    return replace(second, clean=clean, noise=noise)


def split_by_frequency(first: Estimate, second: Estimate, slow_from_second: bool) -> Estimate:
    """What changes slowly along the frames from one estimate, what changes fast from the other."""
    slow, fast = (second, first) if slow_from_second else (first, second)
    clean = fast.clean + temporal_lowpass(slow.clean - fast.clean)
    noise = fast.noise + temporal_lowpass(slow.noise - fast.noise)
    return replace(second, clean=clean, noise=noise)


def temporal_lowpass(latents: Tensor) -> Tensor:
    """The mean over each frame's neighbourhood, which has fewer frames at both ends.

    Takes and gives `(batch, channel, frame, height, width)`.
    """
    count = latents.shape[2]
    rows = []
    for frame in range(count):
        near = [float(abs(frame - other) <= RADIUS) for other in range(count)]
        rows.append([weight / sum(near) for weight in near])
    return (latents.movedim(2, -1) @ latents.new_tensor(rows).T).movedim(-1, 2)

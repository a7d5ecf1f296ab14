"""Solvers that combine the estimates of the last two visits, one of each expert, into one.

Both are of the same sample, so any mixture of them whose weights sum to one is an estimate again.
"""

from __future__ import annotations

from collections.abc import Sequence

from confiner_cli.method.estimate import Estimate
from confiner_cli.method.tensor import Tensor
from confiner_cli.method.walk import Evaluation

RADIUS = 3
"""Slow is what remains in a mean over this many frames before and after each: 7 frames."""


def averaged(history: Sequence[Evaluation]) -> Estimate:
    """The mean of both.

    Raises:
        ValueError: there is no visit before this one.
    """
    first, last = _two(history)
    return Estimate((first.clean + last.clean) / 2, (first.noise + last.noise) / 2)


def frequency_split(history: Sequence[Evaluation], slow_from_last: bool) -> Estimate:
    """What changes slowly along the frames from one expert, what changes fast from the other.

    Args:
        history: with the estimates of two experts at its end.
        slow_from_last: whether the last expert decides the slow changes, or the one before it.

    Raises:
        ValueError: there is no visit before this one.
    """
    slow, fast = _two(history)
    if slow_from_last:
        slow, fast = fast, slow
    clean = fast.clean + temporal_lowpass(slow.clean - fast.clean)
    noise = fast.noise + temporal_lowpass(slow.noise - fast.noise)
    return Estimate(clean, noise)


def _two(history: Sequence[Evaluation]) -> tuple[Estimate, Estimate]:
    if len(history) < 2:
        raise ValueError("the first visit has no estimate before it to blend with")
    return history[-2].estimate, history[-1].estimate


def temporal_lowpass(latents: Tensor) -> Tensor:
    """The mean over each frame's neighbourhood, which has fewer frames at both ends.

    Takes and gives `(batch, channel, frame, height, width)`.
    """
    count = latents.shape[2]
    near = latents.new_ones(count, count).tril(RADIUS).triu(-RADIUS)
    means = near / near.sum(dim=1, keepdim=True)
    return (latents.movedim(2, -1) @ means.T).movedim(-1, 2)

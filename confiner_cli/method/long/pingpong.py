"""Turning: a segment that would start a motion over is played backwards instead, from where the one before it ended.

No strategy of the paper continues a motion that has a direction, and the experts have never seen one go on beyond a
clip: it can be cut, or turned. What joins is pulled together while the segment is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from confiner_cli.method.estimate import Estimate, noise_left
from confiner_cli.method.schedule import Schedule
from confiner_cli.method.walk import Denoiser

JUMP = 3.0
"""From how many times the usual change between frames on a new start counts as a jump."""
MIRRORED = 8
"""Over how many frames a segment follows the one before it back, less and less."""
HELD, HOLD = 4, 0.5
"""Over how many frames, and how strongly at first, a segment is pulled to the last frame before it."""


@dataclass(frozen=True)
class Anchored:
    """Frames of the clean estimate are pulled to known ones.

    Attributes:
        denoiser: the expert, guided if it is.
        target: the known frames, shaped like the sample.
        weight: for each frame, 0 leaves it alone, 1 puts the known one in its place.
    """

    denoiser: Denoiser
    target: Tensor
    weight: Tensor

    @property
    def schedule(self) -> Schedule:
        """The expert's."""
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        """The pulled estimate of `x_t`; its noise is what the pulled clean latents leave of the sample."""
        found = self.denoiser(x_t, t)
        clean = torch.lerp(
            found.clean, self.target.to(x_t), self.weight.to(x_t).view(1, 1, -1, 1, 1)
        )
        return replace(found, clean=clean, noise=noise_left(x_t, clean, self.schedule.level(t)))

    def on(self, schedule: Schedule) -> Anchored:
        """The same pull on another schedule."""
        return replace(self, denoiser=self.denoiser.on(schedule))


class Joint(NamedTuple):
    """How a segment joins the one before it: whether it is played backwards, and what `Anchored` pulls it to."""

    backwards: bool
    target: Tensor
    weight: Tensor


def joint(before: Tensor, backwards: bool) -> Joint:
    """How the next segment joins this one; a segment of the same prompt and noise has about the same motion.

    Args:
        before: a segment's latents, `(1, channel, frame, height, width)`, as the video shows it.
        backwards: whether it is shown backwards.
    """
    own = before.flip(2) if backwards else before
    last, frame = before[:, :, -1], torch.arange(before.shape[2])
    change = (own[:, :, 1:] - own[:, :, :-1]).abs().mean(dim=(0, 1, 3, 4))
    step = float(change.median()) if len(change) else 0.0
    forward, back = (float((own[:, :, end] - last).abs().mean()) for end in (0, -1))
    if forward > JUMP * step and back < forward:  # it ends where this one ends: turn round
        return Joint(True, own, (1 - frame / MIRRORED).clamp(min=0).flip(0))
    if backwards:  # it starts where this one has come back to
        return Joint(False, own, (1 - frame / MIRRORED).clamp(min=0))
    return Joint(False, before[:, :, -1:].expand_as(before), HOLD * (1 - frame / HELD).clamp(min=0))

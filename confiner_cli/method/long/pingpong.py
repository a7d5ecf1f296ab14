"""Ping-pong: a segment that would start a motion over is played backwards instead.

It starts where the segment before it ended. No strategy of the paper continues a motion that has a
direction, and the experts have never seen one go on beyond a clip: it can be cut, or turned. Where
segments join, they are pulled together while the second one is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from confiner_cli.method.estimate import Estimate, noise_left
from confiner_cli.method.schedule import Schedule
from confiner_cli.method.walk import Denoiser

JUMP_RATIO = 3.0
"""From how many times the usual change between frames on a new start counts as a jump."""
MIRRORED_FRAMES = 8
"""Over how many frames a segment follows the one before it back, less and less."""
HELD_FRAMES = 4
"""Over how many frames a segment is pulled to the last frame before it, less and less."""
HELD_WEIGHT = 0.5
"""How strongly its first frame is."""


@dataclass(frozen=True)
class AnchoredDenoiser:
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
        """The pulled estimate of `x_t`; its noise is what the pulled clean latents leave of it."""
        found = self.denoiser(x_t, t)
        weight = self.weight.to(x_t).view(1, 1, -1, 1, 1)
        clean = torch.lerp(found.clean, self.target.to(x_t), weight)
        return replace(found, clean=clean, noise=noise_left(x_t, clean, self.schedule.level(t)))

    def read_on(self, schedule: Schedule) -> AnchoredDenoiser:
        """The same pull on another schedule."""
        return replace(self, denoiser=self.denoiser.read_on(schedule))


class Continuation(NamedTuple):
    """How a segment goes on from the one before it.

    Attributes:
        backwards: whether it is played backwards.
        target, weight: what `AnchoredDenoiser` pulls it to.
    """

    backwards: bool
    target: Tensor
    weight: Tensor


def continuation(before: Tensor, backwards: bool) -> Continuation:
    """How the next segment goes on; one of the same prompt and noise has about the same motion.

    Args:
        before: a segment's latents, `(1, channel, frame, height, width)`, as the video shows it.
        backwards: whether it is shown backwards.
    """
    own = before.flip(2) if backwards else before
    last, frame = before[:, :, -1], torch.arange(before.shape[2])
    change = (own[:, :, 1:] - own[:, :, :-1]).abs().mean(dim=(0, 1, 3, 4))
    step = float(change.median()) if len(change) else 0.0
    forward, back = (float((own[:, :, end] - last).abs().mean()) for end in (0, -1))
    mirrored = (1 - frame / MIRRORED_FRAMES).clamp(min=0)
    if forward > JUMP_RATIO * step and back < forward:  # it ends where this one ends: turn round
        return Continuation(True, own, mirrored.flip(0))
    if backwards:  # it starts where this one has come back to
        return Continuation(False, own, mirrored)
    held = HELD_WEIGHT * (1 - frame / HELD_FRAMES).clamp(min=0)
    return Continuation(False, before[:, :, -1:].expand_as(before), held)

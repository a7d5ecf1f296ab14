"""Ping-pong: a segment that would start a motion over is played backwards instead.

It starts where the segment before it ended. No strategy of the paper continues a motion that has a
direction, and the experts have never seen one go on beyond a clip: it can be cut, or turned. Where
segments join, they are pulled together while the second one is sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        target: the known frames, shaped like `x_t`.
        weight: `(sample, frame)`: 0 leaves a frame alone, 1 puts the known one in its place.
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
        weight = self.weight.to(x_t)[:, None, :, None, None]
        clean = torch.lerp(found.clean, self.target.to(x_t), weight)
        return replace(found, clean=clean, noise=noise_left(x_t, clean, self.schedule.level(t)))

    def read_on(self, schedule: Schedule) -> AnchoredDenoiser:
        """The same pull on another schedule."""
        return replace(self, denoiser=self.denoiser.read_on(schedule))


class Continuation(NamedTuple):
    """How a segment goes on from the one before it.

    Attributes:
        backwards: for each sample, whether it is played backwards.
        target, weight: what `AnchoredDenoiser` pulls it to.
    """

    backwards: tuple[bool, ...]
    target: Tensor
    weight: Tensor


def as_shown(latents: Tensor, backwards: Sequence[bool]) -> Tensor:
    """The frames of `(sample, channel, frame, height, width)` in the order that the video has.

    Turned once more, they are in the segment's own order.
    """
    samples = zip(latents, backwards, strict=True)
    return torch.stack([sample.flip(1) if turned else sample for sample, turned in samples])


def continuation(before: Tensor, backwards: Sequence[bool]) -> Continuation:
    """How the next segment goes on; each sample decides for itself.

    Args:
        before: a segment's latents, `(sample, channel, frame, height, width)`, as the video shows
            them.
        backwards: for each sample, whether it is shown backwards.
    """
    owns = as_shown(before, backwards)
    changes = torch.stack([_changes(*each) for each in zip(before, owns, strict=True)])
    # Of all samples at once: to read what a GPU has computed is to wait for it.
    turning = [_turns(*each) for each in changes.cpu().tolist()]
    segments = zip(before, owns, backwards, turning, strict=True)
    targets, weights = zip(*(_pull(*segment) for segment in segments), strict=True)
    return Continuation(tuple(turning), torch.stack(targets), torch.stack(weights))


def _changes(before: Tensor, own: Tensor) -> Tensor:
    """Of one sample: its usual change between frames, and how far its ends are from its last frame.

    `(channel, frame, height, width)`; `own` is in its own order. The result is `(3,)`: the change,
    how far its first frame is, how far its last one.
    """
    last, change = before[:, -1], (own[:, 1:] - own[:, :-1]).abs().mean(dim=(0, 2, 3))
    step = change.median() if len(change) else change.sum()
    first, final = ((own[:, end] - last).abs().mean() for end in (0, -1))
    return torch.stack((step, first, final))


def _turns(step: float, first: float, final: float) -> bool:
    """Whether the next segment is played backwards: it ends where this one ends.

    The next segment, of the same prompt and noise, will have about the same motion.
    """
    return first > JUMP_RATIO * step and final < first


def _pull(before: Tensor, own: Tensor, backwards: bool, turns: bool) -> tuple[Tensor, Tensor]:
    """What one sample of the next segment is pulled to, and how strongly each frame is."""
    frame = torch.arange(before.shape[1], device=before.device)
    mirrored = (1 - frame / MIRRORED_FRAMES).clamp(min=0)
    if turns:
        return own, mirrored.flip(0)
    if backwards:  # it starts where this one has come back to
        return own, mirrored
    held = HELD_WEIGHT * (1 - frame / HELD_FRAMES).clamp(min=0)
    return before[:, -1:].expand_as(before), held

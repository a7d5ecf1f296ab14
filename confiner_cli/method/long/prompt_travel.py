"""Several prompts in one window: each frame's estimate comes from the denoiser that has the frame's own prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from confiner_cli.method.estimate import Estimate
from confiner_cli.method.long.timeline import Span
from confiner_cli.method.schedule import Schedule
from confiner_cli.method.walk import Denoiser


@dataclass(frozen=True)
class Relay:
    """Denoisers of the same expert, each of which is asked for all frames and answers for its own: a pass for each.

    `legs` are the denoisers and how many frames each answers for, in the frames' order.
    """

    legs: Sequence[tuple[Denoiser, int]]

    @property
    def schedule(self) -> Schedule:
        """The expert's."""
        return self.legs[0][0].schedule

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        """Estimate `x_t`, `(batch, channel, frame, height, width)`, every frame by its own prompt."""
        sizes = [size for _, size in self.legs]
        found = [denoiser(x_t, t) for denoiser, _ in self.legs]
        clean = [torch.split(whole.clean, sizes, dim=2)[leg] for leg, whole in enumerate(found)]
        noise = [torch.split(whole.noise, sizes, dim=2)[leg] for leg, whole in enumerate(found)]
        return Estimate(
            torch.cat(clean, dim=2), torch.cat(noise, dim=2), sum(whole.passes for whole in found)
        )

    def on(self, schedule: Schedule) -> Relay:
        """All of them on another schedule."""
        return replace(self, legs=[(denoiser.on(schedule), size) for denoiser, size in self.legs])


def for_frames(denoisers: Mapping[int, Denoiser], span: Span) -> Denoiser:
    """The denoiser for the frames of a span.

    Args:
        denoisers: by the frame from which on each has the prompt; frame 0 is among them.
        span: where in the video.
    """
    starts = sorted(denoisers)
    first = max(start for start in starts if start <= span.start)
    inside = [first, *(start for start in starts if span.start < start < span.stop)]
    edges = [span.start, *inside[1:], span.stop]
    legs = [
        (denoisers[start], stop - begin)
        for start, (begin, stop) in zip(inside, pairwise(edges), strict=True)
    ]
    return legs[0][0] if len(legs) == 1 else Relay(legs)

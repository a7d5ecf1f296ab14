"""Several prompts in one window: each frame's estimate is that of its own prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from confiner_cli.method.estimate import Estimate
from confiner_cli.method.schedule import Schedule
from confiner_cli.method.walk import Denoiser


@dataclass(frozen=True)
class PromptTravel:
    """Denoisers of one expert, each asked for all frames and answering for its own.

    That is a pass for each prompt.

    Attributes:
        spans: the denoisers and how many frames each answers for, in the frames' order.
    """

    spans: Sequence[tuple[Denoiser, int]]

    @property
    def schedule(self) -> Schedule:
        """The expert's."""
        return self.spans[0][0].schedule

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        """Estimate `x_t`, `(batch, channel, frame, height, width)`, each frame by its prompt."""
        clean, noise, passes, start = [], [], 0, 0
        for denoiser, size in self.spans:
            # Asked for all frames: what is near a span's edge needs its neighbours.
            whole, own = denoiser(x_t, t), slice(start, start + size)
            clean.append(whole.clean[:, :, own])
            noise.append(whole.noise[:, :, own])
            passes += whole.passes
            start += size
        return Estimate(torch.cat(clean, dim=2), torch.cat(noise, dim=2), passes)

    def read_on(self, schedule: Schedule) -> PromptTravel:
        """All of them on another schedule."""
        spans = [(denoiser.read_on(schedule), size) for denoiser, size in self.spans]
        return replace(self, spans=spans)


def for_frames(denoisers: Mapping[int, Denoiser], frames: Sequence[int]) -> Denoiser:
    """The denoiser for latents that begin with these frames of the video, one or more.

    Args:
        denoisers: by the frame from which on each has the prompt; frame 0 is among them.
        frames: of each latent along the time axis the first frame that it shows.
    """
    own = (max(start for start in denoisers if start <= frame) for frame in frames)
    spans = [(denoisers[start], len(list(latents))) for start, latents in groupby(own)]
    return spans[0][0] if len(spans) == 1 else PromptTravel(tuple(spans))

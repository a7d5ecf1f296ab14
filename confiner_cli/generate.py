"""From denoisers to refined latents: structures and windows as streams, so memory is that of one window.

Nothing here knows files, configs or diffusers. The state of a stage is what its iterator returns; progress and
bookkeeping are loops around the walk, handed in as `watch`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from confiner_cli.errors import NotFiniteError
from confiner_cli.noise import frames_noise
from confiner_cli.refinement import HOP_NOISE, Pair, patterns, refine, visits
from confiner_cli.settings import SchedulerSettings
from confiner_cli.structure import SPACINGS, Grid, sample
from confiner_cli.timeline import Span, Timeline
from confiner_cli.walk import Denoiser, Step, Visit

Watch = Callable[[str, Iterator[Step], int], Iterable[Step]]
"""Wraps a walk: gets the stage's name, the steps and how many there will be, and passes the steps on."""


@dataclass(frozen=True)
class Plan:
    """All that decides the latents.

    Attributes:
        denoisers: by role, each already given its prompt.
        scheduler: both stages' settings, checked.
        timeline: where structures and windows lie.
        shape: `(channel, height, width)` of one frame's latents.
        seed: what all noise is keyed by.
    """

    denoisers: Mapping[str, Denoiser]
    scheduler: SchedulerSettings
    timeline: Timeline
    shape: tuple[int, int, int]
    seed: int

    @property
    def grid(self) -> Grid:
        """The timesteps of the structure stage."""
        settings = self.scheduler.structure
        schedule = self.denoisers[settings.expert].schedule
        return SPACINGS[settings.timestep_spacing](schedule, settings.num_inference_steps)

    @property
    def visits(self) -> list[Visit]:
        """The visits of one window's refinement; empty where the structure is the result."""
        settings = self.scheduler.refinement
        if not settings.num_inference_steps:
            return []  # one expert alone: the others may not even be loaded
        pair = Pair(
            self.denoisers["spatial"],
            self.denoisers["temporal"],
            hop_noise=HOP_NOISE.get(settings.hop_noise, settings.hop_noise),
            match_snr=settings.timestep_matching == "snr",
        )
        return visits(pair, settings.te, patterns(settings.pattern, settings.num_inference_steps))

    def base_noise(self) -> Tensor:
        """The noise that every structure starts from, `(1, channel, frame, height, width)`, standard normal."""
        return frames_noise(self.shape, range(len(self.timeline.structures[0])), self.seed, "base")

    def hop_noise(self, window: Span, visit: int) -> Tensor:
        """Fresh noise of a window for the arrival at a visit; keyed by the video's frames, so windows agree."""
        return frames_noise(self.shape, window.frames, self.seed, "refinement", visit)


def structures(plan: Plan, watch: Watch) -> Iterator[Tensor]:
    """Sample the timeline's structures one after another, `(1, channel, frame, height, width)` each."""
    role = plan.scheduler.structure.expert
    for _ in plan.timeline.structures:
        steps = sample(plan.base_noise(), plan.denoisers[role], role, plan.grid)
        yield _last(watch("structure", _finite("structure", steps), len(plan.grid.timesteps)))


def windows(timeline: Timeline, drafts: Iterable[Tensor]) -> Iterator[tuple[Span, Tensor]]:
    """Cut a stream of structures into the timeline's windows, holding no more frames than the next window needs."""
    source, start = iter(drafts), 0
    held: list[Tensor] = []
    for window in timeline.windows:
        while start + sum(part.shape[2] for part in held) < window.stop:
            held.append(next(source))
        joined = torch.cat(held, dim=2)
        yield window, joined[:, :, : len(window)]
        held, start = [joined[:, :, len(window) :]], window.stop


def refined(plan: Plan, drafts: Iterable[Tensor], watch: Watch) -> Iterator[Tensor]:
    """Refine a stream of structures window by window, `(1, channel, frame, height, width)` each."""
    stops = plan.visits
    for window, draft in windows(plan.timeline, drafts):
        if not stops:
            yield draft
            continue

        def noise(visit: int, window: Span = window) -> Tensor:
            return plan.hop_noise(window, visit)

        steps = _finite("refinement", refine(draft, stops, noise))
        yield _last(watch("refinement", steps, len(stops)))


def _finite(stage: str, steps: Iterator[Step]) -> Iterator[Step]:
    for number, step in enumerate(steps, start=1):
        if not torch.isfinite(step.estimate.clean).all():
            raise NotFiniteError(stage, number, step.visit.role, step.visit.t)
        yield step


def _last(steps: Iterable[Step]) -> Tensor:
    return deque(steps, maxlen=1)[0].x_t

"""What the figure shows of a walk: every visit with its noise level, from the method's own lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from confiner_cli.config.schema import ExpertSettings, Settings
from confiner_cli.method.long.timeline import Span, Timeline
from confiner_cli.method.refinement import Pair, patterns, visits
from confiner_cli.method.schedule import BETA_SCHEDULES, NoiseSchedule
from confiner_cli.method.structure import SPACINGS
from confiner_cli.method.walk import Denoiser


@dataclass(frozen=True)
class Stop:
    """A visit as it is drawn.

    Attributes:
        role: who is asked; `clean` is nobody: a walk ends there.
        t: the timestep, on the expert's own schedule.
        noise: the sample's noise level on arrival, 0 clean, 1 noise.
        renoised: whether the walk arrives with fresh noise.
    """

    role: str
    t: float
    noise: float
    renoised: bool = False


CLEAN = Stop("clean", 0, 0.0)


@dataclass(frozen=True)
class _Scheduled:
    """A denoiser that is never called: a list of visits needs its schedule only."""

    schedule: NoiseSchedule


def draft_stops(settings: Settings) -> list[Stop]:
    """The visits that make a structure."""
    chosen = settings.scheduler.structure
    schedule = _schedule(settings.experts.role(chosen.expert))
    grid = SPACINGS[chosen.timestep_spacing](schedule, chosen.num_inference_steps)
    return [Stop(chosen.expert, t, schedule.level(t).noise) for t in grid.timesteps]


def refinement_stops(settings: Settings) -> list[Stop]:
    """The visits that refine a window; the draft is noised up to the first."""
    chosen, experts = settings.scheduler.refinement, settings.experts
    pair = Pair(_unasked(experts.spatial), _unasked(experts.temporal))
    found = visits(pair, chosen.te, patterns(chosen.pattern, chosen.num_inference_steps))
    renoised = [True, *(visit.eta > 0 for visit in found[1:])]
    return [
        Stop(visit.role, visit.t, visit.level.noise, fresh)
        for visit, fresh in zip(found, renoised, strict=True)
    ]


def _unasked(expert: ExpertSettings) -> Denoiser:
    return cast(Denoiser, _Scheduled(_schedule(expert)))


def _schedule(expert: ExpertSettings) -> NoiseSchedule:
    betas = BETA_SCHEDULES[expert.beta_schedule]
    return betas(expert.beta_start, expert.beta_end, expert.num_train_timesteps)


def described(timeline: Timeline, draft: Sequence[Stop], refinement: Sequence[Stop]) -> str:
    """The figure in words: for those who cannot see it, and for the test that it is up to date."""
    windows = [timeline.refines(number) for number in range(len(timeline.windows))]
    parts = (
        f"Structures: {_frames(timeline.structures)}.",
        f"Windows: {_frames(windows)}.",
        f"Draft: {_visits(draft)}.",
        f"Refinement: {_visits(refinement)}.",
    )
    return " ".join(parts)


def _frames(spans: Sequence[Span]) -> str:
    return ", ".join(f"frames {span.start} to {span.stop - 1}" for span in spans)


def _visits(stops: Sequence[Stop]) -> str:
    return ", ".join(
        f"{stop.role} at timestep {stop.t:g} and noise level {stop.noise:.3f}"
        f"{' with fresh noise' if stop.renoised else ''}"
        for stop in stops
    )

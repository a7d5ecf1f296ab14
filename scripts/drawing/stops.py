"""What the figure shows of a walk: each visit with its noise level, from the method's own lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from confiner_cli.config.job import Job
from confiner_cli.method.long.timeline import Span, Timeline


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


def draft_stops(job: Job) -> list[Stop]:
    """The visits that make a structure."""
    return [Stop(visit.role, visit.t, visit.level.noise) for visit in job.structure_visits]


def refinement_stops(job: Job) -> list[Stop]:
    """The visits that refine a window; the draft is noised up to the first."""
    visits = job.refinement_visits
    renoised = [True, *(visit.eta > 0 for visit in visits[1:])]
    return [
        Stop(visit.role, visit.t, visit.level.noise, fresh)
        for visit, fresh in zip(visits, renoised, strict=True)
    ]


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

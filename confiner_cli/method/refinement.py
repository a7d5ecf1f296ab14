"""The refinement stage: two experts share one sampling, from timestep Te to clean (section 3.3).

One of them may be absent: then the other one refines alone, and Te is a timestep of its own.

A pattern says who visits at one timestep; the visits of all steps together are what the walk walks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol

from confiner_cli.method import blending
from confiner_cli.method.options import RefinementOptions
from confiner_cli.method.schedule import Schedule
from confiner_cli.method.solvers import SOLVERS, Solver
from confiner_cli.method.tensor import Tensor
from confiner_cli.method.walk import Denoiser, Step, Visit, Visited, walk

RENOISE = {"fresh": 1.0, "predicted": 0.0}
"""Shares of fresh noise at a hand-over that have a name: the paper's, and none."""


def same_timestep(t: float, spatial: Schedule, temporal: Schedule) -> float:
    """The temporal expert is asked at the spatial one's timestep (the paper's)."""
    return t


def same_ratio(t: float, spatial: Schedule, temporal: Schedule) -> float:
    """The temporal expert is asked at its timestep nearest in noise-to-signal ratio."""
    return temporal.matching(spatial.level(t))


TIMESTEP_MATCHINGS: dict[str, Callable[[float, Schedule, Schedule], float]] = {
    "same": same_timestep,
    "snr": same_ratio,
}


@dataclass(frozen=True)
class Pair(Generic[Visited]):
    """The spatial and the temporal expert by role, and how the sample crosses between them."""

    experts: Mapping[str, Visited]
    options: RefinementOptions

    @property
    def schedule(self) -> Schedule:
        """The schedule that steps are counted on: the spatial expert's, where there is one."""
        return self.experts["spatial" if "spatial" in self.experts else "temporal"].schedule

    def spatial_visit(self, t: float, eta: float = 0.0) -> Visit[Visited]:
        """A visit of the spatial expert."""
        return Visit("spatial", self.experts["spatial"], t, eta, SOLVERS[self.options.solver])

    def temporal_visit(
        self, t: float, eta: float = 0.0, solve: Solver | None = None
    ) -> Visit[Visited]:
        """A visit of the temporal expert at its timestep that matches `t`."""
        temporal = self.experts["temporal"]
        match = TIMESTEP_MATCHINGS[self.options.timestep_matching]
        own = match(t, self.schedule, temporal.schedule)
        return Visit("temporal", temporal, own, eta, solve or SOLVERS[self.options.solver])


class Pattern(Protocol):
    """Who visits at timestep `t` of the pair's schedule; `steps_left` counts down to 1."""

    def __call__(self, pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
        """The visits of one step."""


def standard(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """One step of the spatial expert (eq. 8)."""
    return [pair.spatial_visit(t)]


def temporal_only(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """One step of the temporal expert, on its own schedule."""
    return [pair.temporal_visit(t)]


def self_refine(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """The temporal expert several times at one timestep, renoised between (arXiv 2601.18577).

    What it predicts is noised again at the same level, and predicted once more.
    """
    again = [pair.temporal_visit(t, pair.options.renoise)] * (pair.options.repeats - 1)
    return [pair.temporal_visit(t), *again]


def coordinated(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """Spatial, temporal, spatial at one timestep, renoised at both hand-overs (eq. 9 to 11)."""
    eta = pair.options.renoise
    return [pair.spatial_visit(t), pair.temporal_visit(t, eta), pair.spatial_visit(t, eta)]


def two_visits(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """Spatial, then temporal with renoising, whose estimate leads to the next timestep."""
    return [pair.spatial_visit(t), pair.temporal_visit(t, pair.options.renoise)]


def temporal_first(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """Temporal, then spatial, renoised at both hand-overs.

    The steadiest pattern where all frames share that noise (docs/results.md).
    """
    eta = pair.options.renoise
    return [pair.temporal_visit(t, eta), pair.spatial_visit(t, eta)]


def interleaved(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """The experts take turns, each step onto the next one's schedule; the temporal one is last."""
    return [pair.temporal_visit(t) if steps_left % 2 else pair.spatial_visit(t)]


def naive(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """The experts take turns on the spatial schedule, as if both had been trained on it (eq. 7)."""
    if steps_left % 2:
        return [pair.spatial_visit(t)]
    temporal = pair.experts["temporal"].read_on(pair.schedule)
    return [Visit("temporal", temporal, t, solve=SOLVERS[pair.options.solver])]


def averaged(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """A step from the mean of both experts' estimates of one sample, without fresh noise."""
    return [pair.spatial_visit(t), pair.temporal_visit(t, solve=blending.averaged)]


def slow_from_temporal(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """A step from the temporal expert's slow changes along the frames and the other's fast ones."""
    solve = partial(blending.frequency_split, slow_from_last=True)
    return [pair.spatial_visit(t), pair.temporal_visit(t, solve=solve)]


def slow_from_spatial(pair: Pair[Visited], t: float, steps_left: int) -> list[Visit[Visited]]:
    """A step from the spatial expert's slow changes along the frames and the other's fast ones."""
    solve = partial(blending.frequency_split, slow_from_last=False)
    return [pair.spatial_visit(t), pair.temporal_visit(t, solve=solve)]


PATTERNS: dict[str, Pattern] = {
    "coordinated": coordinated,
    "standard": standard,
    "spatial_only": standard,
    "temporal_only": temporal_only,
    "self_refine": self_refine,
    "naive": naive,
    "two_visits": two_visits,
    "temporal_first": temporal_first,
    "interleaved": interleaved,
    "averaged": averaged,
    "slow_from_temporal": slow_from_temporal,
    "slow_from_spatial": slow_from_spatial,
}
ASKS = {
    "standard": ("spatial",),
    "spatial_only": ("spatial",),
    "temporal_only": ("temporal",),
    "self_refine": ("temporal",),
}
"""Whom patterns ask that do not ask both experts."""
SINGLE_EXPERT = ("standard", "spatial_only", "temporal_only")
"""Of these, those without fresh noise, so that a solver can remember the steps before."""


def timesteps(schedule: Schedule, te: float, steps: int) -> list[float]:
    """`te * (steps - i) / steps` for i = 0 .. steps - 1: uniform from te, ending clean.

    Where experts were trained on whole timesteps, the nearest ones.
    """
    return [schedule.trained(te * (steps - step) / steps) for step in range(steps)]


def refinement_visits(
    options: RefinementOptions, spatial: Visited | None, temporal: Visited | None
) -> list[Visit[Visited]]:
    """All visits of a refinement, step by step; none where it has no steps.

    Args:
        options: its patterns ask nobody who is None.
        spatial: the spatial expert, if there is one.
        temporal: the temporal expert, if there is one.
    """
    if not options.patterns:
        return []
    experts = {"spatial": spatial, "temporal": temporal}
    pair = Pair({role: expert for role, expert in experts.items() if expert is not None}, options)
    steps, visits = len(options.patterns), list[Visit[Visited]]()
    for index, t in enumerate(timesteps(pair.schedule, options.te, steps)):
        pattern = PATTERNS[options.patterns[index]]
        visits += pattern(pair, t, steps - index)
    return visits


def refine(
    draft: Tensor, visits: Sequence[Visit[Denoiser]], noise: Callable[[int], Tensor]
) -> Iterator[Step]:
    """Noise a draft up to the first visit's level (eq. 6) and walk it down to clean.

    Args:
        draft: clean latents, `(batch, channel, frame, height, width)`.
        visits: as `refinement_visits` lists them, one or more.
        noise: `noise(i)` is fresh noise for the arrival at visit `i`, shaped like the draft;
            `noise(0)` is the hand-over's.
    """
    return walk(visits[0].level.mix(draft, noise(0)), visits, fresh=noise)

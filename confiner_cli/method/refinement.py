"""The refinement stage: two experts share one sampling, from timestep Te to clean (the paper's section 3.3).

A pattern says who visits at one timestep; the visits of all steps together are what the walk walks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from confiner_cli.method.blending import averaged_estimates, split_by_frequency
from confiner_cli.method.walk import Denoiser, Step, Visit, walk

if TYPE_CHECKING:
    from torch import Tensor

    from confiner_cli.method.estimate import Estimate

HOP_NOISE = {"fresh": 1.0, "predicted": 0.0}


@dataclass(frozen=True)
class Pair:
    """The spatial and the temporal expert, and how the sample crosses between them."""

    spatial: Denoiser
    temporal: Denoiser
    hop_noise: float = 1.0
    match_snr: bool = False

    def s(self, t: float, eta: float = 0.0) -> Visit:
        """A visit of the spatial expert."""
        return Visit("spatial", self.spatial, t, eta)

    def t(
        self,
        t: float,
        eta: float = 0.0,
        blend: Callable[[Estimate, Estimate], Estimate] | None = None,
    ) -> Visit:
        """A visit of the temporal expert at the same timestep, or at the one of its own with the same noise ratio."""
        if self.match_snr:
            t = self.temporal.schedule.matching(self.spatial.schedule.level(t))
        return Visit("temporal", self.temporal, t, eta, blend)


def standard(pair: Pair, t: float, steps_left: float) -> list[Visit]:
    """One DDIM step of the spatial expert (eq. 8)."""
    return [pair.s(t)]


def temporal_only(pair: Pair, t: float, steps_left: float) -> list[Visit]:
    """One DDIM step of the temporal expert, on its own schedule."""
    return [pair.t(t)]


def coordinated(pair: Pair, t: float, steps_left: float) -> list[Visit]:
    """Spatial, temporal, spatial at one timestep, with hop noise at both crossings (eq. 9 to 11)."""
    return [pair.s(t), pair.t(t, pair.hop_noise), pair.s(t, pair.hop_noise)]


def two_visits(pair: Pair, t: float, steps_left: float) -> list[Visit]:
    """Spatial, then temporal with hop noise, then on to the next timestep from the temporal expert's estimate."""
    return [pair.s(t), pair.t(t, pair.hop_noise)]


def temporal_first(pair: Pair, t: float, steps_left: float) -> list[Visit]:
    """Temporal, then spatial, with hop noise at both crossings; the steadiest where all frames share that noise."""
    return [pair.t(t, pair.hop_noise), pair.s(t, pair.hop_noise)]


def interleaved(pair: Pair, t: float, steps_left: float) -> list[Visit]:
    """The experts take turns, each step a DDIM step onto the next one's schedule; the temporal expert comes last."""
    return [pair.t(t) if steps_left % 2 else pair.s(t)]


def naive(pair: Pair, t: float, steps_left: float) -> list[Visit]:
    """The experts take turns on the spatial expert's schedule, as if the other had been trained on it (eq. 7)."""
    if steps_left % 2:
        return [pair.s(t)]
    return [Visit("temporal", pair.temporal.on(pair.spatial.schedule), t)]


def averaged(pair: Pair, t: float, steps_left: float) -> list[Visit]:
    """A step from the mean of both experts' estimates of one sample, without fresh noise."""
    return [pair.s(t), pair.t(t, blend=averaged_estimates)]


def frequency_split(
    pair: Pair, t: float, steps_left: float, slow_from_temporal: bool = True
) -> list[Visit]:
    """A step from one expert's slow changes along the frames and the other's fast ones, without fresh noise."""
    return [
        pair.s(t),
        pair.t(t, blend=partial(split_by_frequency, slow_from_second=slow_from_temporal)),
    ]


PATTERNS: dict[str, Callable[[Pair, float, int], list[Visit]]] = {
    "coordinated": coordinated,
    "standard": standard,
    "spatial_only": standard,
    "temporal_only": temporal_only,
    "naive": naive,
    "two_visits": two_visits,
    "temporal_first": temporal_first,
    "interleaved": interleaved,
    "averaged": averaged,
    "slow_from_temporal": frequency_split,
    "slow_from_spatial": partial(frequency_split, slow_from_temporal=False),
}


def patterns(pattern: str | Iterable[str], steps: int) -> list[str]:
    """One pattern's name for each step: a single one is used for all."""
    return [pattern] * steps if isinstance(pattern, str) else list(pattern)


def timesteps(te: float, steps: int) -> list[float]:
    """`round(te * (steps - i) / steps)` for i = 0 .. steps - 1: uniform from te, ending clean."""
    return [round(te * (steps - step) / steps) for step in range(steps)]


def visits(pair: Pair, te: float, names: Sequence[str]) -> list[Visit]:
    """All visits of a refinement, with one pattern's name for each step."""
    steps = len(names)
    plan = zip(names, timesteps(te, steps), range(steps, 0, -1), strict=True)
    return [visit for name, t, left in plan for visit in PATTERNS[name](pair, t, left)]


def refine(
    structure: Tensor, plan: Sequence[Visit], noise: Callable[[int], Tensor]
) -> Iterator[Step]:
    """Noise a structure, `(1, channel, frame, height, width)`, up to the first visit's level (eq. 6) and walk it down.

    `noise(i)` is fresh noise for the arrival at visit i; `noise(0)` is the hand-over's.
    """
    return walk(plan[0].level.mix(structure, noise(0)), plan, fresh=noise)

"""What a run would do and cost, known before anything is loaded: visits, passes, operations, memory. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from confiner_cli.config.method_options import (
    guidance_options,
    refinement_options,
    structure_options,
    timeline_of,
)
from confiner_cli.config.schema import Settings
from confiner_cli.costs.table import companions, costs
from confiner_cli.errors import ConfinerError
from confiner_cli.method.options import GuidanceOptions
from confiner_cli.method.refinement import refinement_visits
from confiner_cli.method.schedule import Schedule
from confiner_cli.method.structure import structure_visits
from confiner_cli.method.walk import Visit


@dataclass(frozen=True)
class Row:
    """What one role does in one stage. `flops` is None where its network is not a known one."""

    stage: str
    role: str
    evaluations: int
    passes: int
    flops: float | None


@dataclass(frozen=True)
class PlannedExpert:
    """What a list of visits asks of an expert, known before it is loaded."""

    schedule: Schedule
    guidance: GuidanceOptions

    def read_on(self, schedule: Schedule) -> PlannedExpert:
        """The same expert, read on another schedule (eq. 7)."""
        return replace(self, schedule=schedule)


def rows(settings: Settings) -> Iterator[Row]:
    """What each role does in each stage, and the VAE's decoding.

    A guided visit inside the guidance interval is two passes; a window is passed once more for each prompt that begins
    inside it.

    Raises:
        ConfinerError: the video has no end.
    """
    if math.isinf(settings.length):
        raise ConfinerError(
            "a video without an end costs without an end", "num_frames= takes a number here"
        )
    timeline = timeline_of(settings)
    refined = [timeline.refines(number) for number in range(int(timeline.window_count))]
    windows = [
        (len(span), 1 + sum(span.start < frame < span.stop for frame in settings.prompts))
        for span in refined
    ]
    sampled = [] if settings.structure.video else _structure(settings)
    for stage, stops, walks in (
        ("structure", sampled, [(timeline.length, 1)] * len(timeline.structures)),
        ("refinement", _refinement(settings), windows),
    ):
        for role, visits_of in _by_role(stops).items():
            passes = sum(visit.denoiser.guidance.passes(visit.level) for visit in visits_of)
            flops = [_flops(settings, role, passes * prompts, frames) for frames, prompts in walks]
            total = None if None in flops else sum(value for value in flops if value is not None)
            yield Row(
                stage,
                role,
                len(visits_of) * len(walks),
                passes * sum(prompts for _, prompts in walks),
                total,
            )
    _, vae = companions(settings.expert("spatial").architecture or "")
    frames = int(settings.length)
    yield Row(
        "decode", "vae", 2 * frames, 2 * frames, 2 * costs()[vae].flops(frames, *settings.size)
    )  # shown, too


def _by_role(stops: Sequence[Visit[PlannedExpert]]) -> dict[str, list[Visit[PlannedExpert]]]:
    return {
        role: [visit for visit in stops if visit.role == role]
        for role in dict.fromkeys(v.role for v in stops)
    }


def _structure(settings: Settings) -> list[Visit[PlannedExpert]]:
    options = structure_options(settings)
    return structure_visits(options, _planned(settings, options.expert))


def _refinement(settings: Settings) -> list[Visit[PlannedExpert]]:
    spatial, temporal = _planned(settings, "spatial"), _planned(settings, "temporal")
    return refinement_visits(refinement_options(settings), spatial, temporal)


def _planned(settings: Settings, role: str) -> PlannedExpert:
    return PlannedExpert(settings.expert(role).schedule, guidance_options(settings, role))


def _flops(settings: Settings, role: str, passes: int, frames: int) -> float | None:
    cost = costs().get(settings.expert(role).architecture or "")
    return None if cost is None else passes * cost.flops(frames, *settings.size)

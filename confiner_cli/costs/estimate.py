"""What a run would do and cost, known before anything is loaded: visits, passes, operations, memory. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from confiner_cli.config.schema import Settings
from confiner_cli.costs.table import companions, costs
from confiner_cli.errors import ConfinerError
from confiner_cli.method.long.timeline import timeline_of
from confiner_cli.method.refinement import HOP_NOISE, Pair, patterns, visits
from confiner_cli.method.structure import SPACINGS
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
class Named:
    """A denoiser that is only talked about."""

    schedule: Any

    def on(self, schedule: Any) -> Named:
        """The same on another schedule."""
        return Named(schedule)


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
            passes = sum(_passes(settings, visit) for visit in visits_of)
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


def _by_role(stops: Sequence[Visit]) -> dict[str, list[Visit]]:
    return {
        role: [visit for visit in stops if visit.role == role]
        for role in dict.fromkeys(v.role for v in stops)
    }


def _structure(settings: Settings) -> list[Visit]:
    structure = settings.scheduler.structure
    denoiser: Any = Named(settings.expert(structure.expert).schedule)
    grid = SPACINGS[structure.timestep_spacing](denoiser.schedule, structure.num_inference_steps)
    return [Visit(structure.expert, denoiser, t) for t in grid.timesteps]


def _refinement(settings: Settings) -> list[Visit]:
    refinement = settings.scheduler.refinement
    steps = refinement.num_inference_steps
    if not steps:
        return []
    spatial: Any = Named(settings.expert("spatial").schedule)
    temporal: Any = Named(settings.expert("temporal").schedule)
    hop_noise = HOP_NOISE.get(refinement.hop_noise, refinement.hop_noise)
    pair = Pair(spatial, temporal, hop_noise, refinement.timestep_matching == "snr")
    return visits(pair, refinement.te, patterns(refinement.pattern, steps))


def _passes(settings: Settings, visit: Visit) -> int:
    low, high = settings.scheduler.guidance_interval
    guided = settings.expert(visit.role).guidance_scale != 1 and low <= visit.level.noise <= high
    return 2 if guided else 1


def _flops(settings: Settings, role: str, passes: int, frames: int) -> float | None:
    cost = costs().get(settings.expert(role).architecture or "")
    return None if cost is None else passes * cost.flops(frames, *settings.size)

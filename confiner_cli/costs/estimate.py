"""What a run would do and cost, known before anything is loaded: visits, passes, operations.

The visits are those of the run: the same functions list them, from the same schedules, and the same
guidance says how many passes each takes. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from confiner_cli.config.job import Job
from confiner_cli.costs.coding import codings
from confiner_cli.costs.table import costs
from confiner_cli.method.long.timeline import Span
from confiner_cli.method.planned import PlannedExpert
from confiner_cli.method.walk import Visit


@dataclass(frozen=True)
class Row:
    """What one role, or a VAE, does in one stage. `flops` is None where nobody knows its network.

    A VAE's evaluations are frames.
    """

    stage: str
    role: str
    evaluations: int
    passes: int
    flops: float | None


@dataclass(frozen=True)
class PlannedWalk:
    """One walk of a stage: how many frames, and how many prompts take part (each is a pass)."""

    num_frames: int
    prompts: int = 1


def rows(job: Job) -> Iterator[Row]:
    """What each role does in each stage, and VAEs: on the bridge, encoding and decoding.

    A visit that guidance applies to is two passes; a window is passed once more for each prompt
    that begins inside it.

    Raises:
        ConfinerError: the video has no end.
    """
    job = job.finite("a video without an end costs without an end")
    timeline = job.timeline
    windows = [timeline.refines(number) for number in range(int(timeline.window_count))]
    refined = [PlannedWalk(len(span), _prompts_in(span, job)) for span in windows]
    drafted = [PlannedWalk(timeline.length)] * len(timeline.structures)
    yield from _stage(job, "structure", job.structure_visits, drafted)
    yield from _stage(job, "refinement", job.refinement_visits, refined)
    yield from _coding(job)


def _prompts_in(span: Span, job: Job) -> int:
    """How many prompts take part in the refinement of a window."""
    return 1 + sum(span.start < frame < span.stop for frame in job.prompts)


def _stage(
    job: Job, stage: str, visits: Sequence[Visit[PlannedExpert]], walks: Sequence[PlannedWalk]
) -> Iterator[Row]:
    for role in dict.fromkeys(visit.role for visit in visits):
        own = [visit for visit in visits if visit.role == role]
        passes = sum(job.guidance[role].passes(visit.level) for visit in own)
        yield Row(
            stage,
            role,
            evaluations=len(own) * len(walks),
            passes=passes * sum(walk.prompts for walk in walks),
            flops=_flops(job, role, passes, walks),
        )


def _flops(job: Job, role: str, passes: int, walks: Sequence[PlannedWalk]) -> float | None:
    cost = costs().get(job.experts[role].architecture or "")
    if cost is None:
        return None
    return sum(passes * walk.prompts * cost.flops(walk.num_frames, *job.size) for walk in walks)


def _coding(job: Job) -> Iterator[Row]:
    """The frames that go through VAEs: as many evaluations."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for coding in codings(job):
        key = (coding.stage, coding.name(job), coding.network(job))
        found.setdefault(key, []).extend(coding.lengths)
    for (stage, name, network), lengths in found.items():
        cost, count = costs().get(network), sum(lengths)
        flops = None if cost is None else sum(cost.flops(each, *job.size) for each in lengths)
        yield Row(stage, name, count, count, flops)

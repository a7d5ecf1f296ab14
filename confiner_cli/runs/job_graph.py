"""What a job comes to: its tasks, and the evaluations that they take. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable

from confiner_cli.config.job import Job
from confiner_cli.runs.executor import missing
from confiner_cli.runs.tasks import Kind, Task, TaskGraph


def graph_of_job(job: Job) -> TaskGraph:
    """The tasks of a job: those of the pipeline that is made of it (`perform.graph_of`)."""
    heard = job.long_video.coherence > 0 or job.long_video.turn
    return TaskGraph(
        job.timeline,
        follows=heard and job.samples_structures,
        previewed=bool(job.settings.output.structure),
        drafted=job.samples_structures or job.joins_in != "frames",
    )


def evaluations_of(job: Job, kind: Kind) -> int:
    """How many evaluations a task takes: of a structure or a window; frames take none."""
    if kind is Kind.STRUCTURE:
        return len(job.structure_visits)
    return len(job.refinement_visits) if kind is Kind.WINDOW else 0


def evaluations_left(job: Job, has: Callable[[Task], bool]) -> float:
    """How many evaluations there are to do; `math.inf` for a video without an end.

    Args:
        job: what is to be made.
        has: whether a task's result is there.
    """
    graph = graph_of_job(job)
    if math.isinf(graph.timeline.num_frames):
        return math.inf
    left = {task for goal in graph.goals() for task in missing(goal, graph, has)}
    return sum(evaluations_of(job, task.kind) for task in left)

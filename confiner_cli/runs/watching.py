"""What is told of a task while it is done, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from confiner_cli.method.pipeline import Watch
from confiner_cli.method.walk import Step
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.tasks import Task


class Record(Protocol):
    """Takes an event and its facts, as events.jsonl has them."""

    def __call__(self, event: str, **facts: object) -> None:
        """Take one."""


def watching(task: Task, meter: Meter, record: Record, stepped: Callable[[str], None]) -> Watch:
    """Counts and records the steps of a task.

    Args:
        task: a structure or a window.
        meter: counts them.
        record: is told of the stage and of each visit.
        stepped: is told the stage after each evaluation, which a GPU may yet be at.
    """

    def watch(stage: str, steps: Iterator[Step], total: int) -> Iterable[Step]:
        record("stage", stage=stage, index=task.number, evaluations=total)
        for number, step in enumerate(meter.watch(stage, steps, total), start=1):
            stepped(stage)
            visit = step.visit
            facts = {"role": visit.role, "t": visit.t}
            record("visit", stage=stage, index=task.number, number=number, **facts)
            yield step

    return watch

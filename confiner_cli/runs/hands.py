"""Who does the tasks of runs: this process, or workers. What differs between the two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from confiner_cli.config.job import Job
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.open_run import OpenRun
from confiner_cli.runs.ready import Ready
from confiner_cli.runs.tasks import Task, TaskGraph
from confiner_cli.runs.write_behind import WriteBehind


@dataclass(frozen=True)
class Witness:
    """Is told what happens to the tasks of runs that are sampled together.

    Attributes:
        runs: at work.
        meter: what all of it costs.
        tell: is told the stage after each evaluation.
    """

    runs: Sequence[OpenRun]
    meter: Meter
    tell: Callable[[str], None]

    def record(self, event: str, **facts: object) -> None:
        """Write an event down, in every run."""
        for run in self.runs:
            run.logbook.event(event, **facts)

    def turned(self, task: Task, backwards: Sequence[bool]) -> None:
        """Write down which way a structure goes."""
        for turned, run in zip(backwards, self.runs, strict=True):
            run.logbook.event("structure", index=task.number, backwards=turned)

    def check(self) -> None:
        """Raise what an encoder has failed of."""
        for run in self.runs:
            run.check()


class Hands(Protocol):
    """Loads experts and does tasks with them."""

    def begin(self, jobs: Sequence[Job]) -> tuple[Meter, str]:
        """What counts the costs of jobs, and the device's name as far as it is known."""

    def computing(self, jobs: Sequence[Job]) -> AbstractContextManager[None]:
        """In the body this process computes with as many threads as it should."""

    def load(self, jobs: Sequence[Job]) -> Ready:
        """Make experts ready for jobs that differ in their seeds alone."""

    def bring_about(
        self, goals: Iterable[Task], graph: TaskGraph, store: WriteBehind, witness: Witness
    ) -> Iterator[Task]:
        """Make goals and whatever they need; yield each when it is done, in their order."""

    def compile_seconds(self) -> float:
        """What compiling has taken since `load`, where the meter does not have it yet."""

    def messages(self) -> Sequence[str]:
        """What libraries have said since `load`."""

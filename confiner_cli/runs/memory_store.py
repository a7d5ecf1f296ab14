"""Results in memory: for a video in Python, and for tests."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from confiner_cli.runs.tasks import LATENTS, Kind, Task

Result = TypeVar("Result")


@dataclass
class MemoryStore(Generic[Result]):
    """A table of results; those of the kinds `keep` stay whatever needs them."""

    keep: Collection[Kind] = ()
    results: dict[Task, Result] = field(default_factory=dict)

    def has(self, task: Task) -> bool:
        """Whether a result is here."""
        return task in self.results

    def get(self, task: Task) -> Result:
        """A result that is here."""
        return self.results[task]

    def put(self, task: Task, result: Result) -> None:
        """Store a result."""
        self.results[task] = result

    def latents(self) -> list[Task]:
        """The tasks of latents whose results are here, and may be discarded at some time."""
        going = [kind for kind in LATENTS if kind not in self.keep]
        return [task for task in self.results if task.kind in going]

    def discard(self, task: Task) -> None:
        """Forget a result."""
        del self.results[task]

    def of_kind(self, kind: Kind) -> list[Result]:
        """All results of a kind, in order."""
        tasks = sorted((task for task in self.results if task.kind is kind), key=_number)
        return [self.results[task] for task in tasks]


def _number(task: Task) -> int:
    return task.number

"""Bringing goals about: whatever is stored already is read, the rest is made and stored.

What differs between a run in one process, a run that goes on after a kill and a video in Python is
the store. Several workers are another executor (`workers.crew`); tasks, results and `perform` stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

from confiner_cli.runs.tasks import Kind, Task, TaskGraph

Result = TypeVar("Result")


class Store(Protocol[Result]):
    """Where results are."""

    def has(self, task: Task) -> bool:
        """Whether a result is here, whole."""

    def get(self, task: Task) -> Result:
        """The result of a task of latents that is here."""

    def put(self, task: Task, result: Result) -> None:
        """Store a result. That of frames may take until later to be here."""

    def latents(self) -> Iterable[Task]:
        """The tasks of latents whose results are here, and may be discarded at some time."""

    def discard(self, task: Task) -> None:
        """Nothing needs this result any more."""


def execute(
    goals: Iterable[Task],
    graph: TaskGraph,
    store: Store[Result],
    perform: Callable[[Task, Mapping[Task, Result]], Result],
) -> Iterator[Task]:
    """Make each goal, and first whatever it needs and is not stored; yield it when it is done.

    Args:
        goals: what is wanted.
        graph: what each task needs.
        store: where results are and go.
        perform: makes a task's result of those that it needs.
    """
    for goal in goals:
        for task in missing(goal, graph, store.has):
            needed = {need: store.get(need) for need in graph.needs(task)}
            store.put(task, perform(task, needed))
            # After each task, not each goal: else latents would pile up on the way to one.
            discard_unneeded(graph, store)
        yield goal


def missing(goal: Task, graph: TaskGraph, has: Callable[[Task], bool]) -> list[Task]:
    """The tasks that are left to do for a goal, each after those that it needs."""
    found: set[Task] = set()
    waiting = [goal]
    while waiting:
        task = waiting.pop()
        if task not in found and not has(task):
            found.add(task)
            waiting += graph.needs(task)
    # A structure needs earlier structures only, a window structures, frames windows.
    order = list(Kind)
    return sorted(found, key=lambda task: (order.index(task.kind), task.number))


def discard_unneeded(graph: TaskGraph, store: Store[Result]) -> None:
    """Let the latents go that no task needs any more."""
    for task in list(store.latents()):
        if all(_is_settled(user, graph, store) for user in graph.users(task)):
            store.discard(task)


def _is_settled(task: Task, graph: TaskGraph, store: Store[Result]) -> bool:
    """Whether a task's result is here, or was here and is needed by nothing any more."""
    seen: set[Task] = set()
    waiting = [task]
    while waiting:
        each = waiting.pop()
        if each in seen or store.has(each):
            continue
        users = graph.users(each)
        if not users:
            return False  # frames, which are still to be made
        seen.add(each)
        waiting += users
    return True

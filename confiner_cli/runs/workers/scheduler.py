"""Which task is done next, and by which worker. No torch and no clock.

The same code drives a run (`crew`) and the forecast of one (`simulation`).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from confiner_cli.runs.executor import missing
from confiner_cli.runs.tasks import LATENTS, Kind, Task, TaskGraph

AHEAD = 2
"""Chunks for each worker that are made at once. So what is on the way to them is bounded, and
structures are not sampled far ahead of the windows that use them."""
ALIKE = {
    Kind.STRUCTURE: {Kind.STRUCTURE},
    Kind.WINDOW: {Kind.WINDOW},
    Kind.PREVIEW: {Kind.PREVIEW, Kind.CHUNK},
    Kind.CHUNK: {Kind.PREVIEW, Kind.CHUNK},
}
"""Kinds of task that call the same networks: frames are decoded, whatever they are of."""


@dataclass
class Hand:
    """What is known of a worker: the kinds of task that it has done, and what it does now."""

    kinds: set[Kind] = field(default_factory=set)
    task: Task | None = None


@dataclass(frozen=True)
class Order:
    """A task that is handed out.

    Attributes:
        worker: to which worker.
        task: to be done.
        is_first: whether it is the worker's first one of its kind: it has networks to load.
    """

    worker: int
    task: Task
    is_first: bool


class Scheduler:
    """Hands out the tasks that bring goals about, one at a time to each worker.

    Structures come first where each follows from the one before: they are the longest chain. Else a
    worker goes on with kinds of task that it has done before, whose networks it has loaded; and
    always in the order in which the video can be watched.

    Args:
        goals: what is wanted, in the order in which it can be watched.
        graph: what each task needs.
        has: whether a task's result is stored.
        workers: how many there are to be: decides how far ahead is worked.
    """

    def __init__(
        self,
        goals: Iterable[Task],
        graph: TaskGraph,
        has: Callable[[Task], bool],
        workers: int,
    ) -> None:
        self.graph = graph
        self.hands: dict[int, Hand] = {}
        self._has = has
        self._ahead = AHEAD * workers
        self._goals = iter(goals)
        self._open: deque[Task] = deque()
        self._aims: set[Task] = set()
        self._left: set[Task] = set()
        self._place: dict[Task, int] = {}
        self._found = 0
        self._ending = False
        self._unmet: dict[Task, int] = {}
        self._ready: dict[Kind, list[tuple[int, Task]]] = {kind: [] for kind in Kind}
        self._look_ahead()

    @property
    def finished(self) -> bool:
        """Whether all goals are brought about."""
        return not self._open

    @property
    def in_flight(self) -> list[Task]:
        """The tasks that workers are at."""
        return [hand.task for hand in self.hands.values() if hand.task is not None]

    def join(self, worker: int) -> None:
        """A worker is there: idle, with nothing loaded."""
        self.hands[worker] = Hand()

    def leave(self, worker: int) -> None:
        """A worker is gone. What it was at can be handed out again."""
        task = self.hands.pop(worker).task
        if task is not None:
            self._offer(task)

    def next(self) -> Order | None:
        """Hand out a task to an idle worker; None where there is no such pair."""
        idle = [worker for worker, hand in self.hands.items() if hand.task is None]
        kinds = [kind for kind in Kind if self._ready[kind]]
        if not idle or not kinds:
            return None
        if self.graph.follows and Kind.STRUCTURE in kinds:
            kinds = [Kind.STRUCTURE]
        worker, kind = min(
            ((worker, kind) for worker in idle for kind in kinds), key=self._preference
        )
        _, task = heapq.heappop(self._ready[kind])
        hand = self.hands[worker]
        order = Order(worker, task, hand.kinds.isdisjoint(ALIKE[kind]))
        hand.task = task
        hand.kinds.add(kind)
        return order

    def finish(self, worker: int) -> None:
        """A worker has done its task; the result can be had by the tasks that need it."""
        hand = self.hands[worker]
        task, hand.task = hand.task, None
        assert task is not None
        self._left.discard(task)
        self._aims.discard(task)
        del self._place[task]
        for user in self.graph.users(task):
            if user in self._unmet:
                self._unmet[user] -= 1
                if not self._unmet[user]:
                    self._offer(user)
        self._look_ahead()

    def watchable(self) -> Iterator[Task]:
        """The goals that have been brought about since, each once, as the video is watched."""
        while self._open and self._open[0] not in self._left:
            yield self._open.popleft()
            self._look_ahead()

    def _preference(self, pair: tuple[int, Kind]) -> tuple[bool, bool, int, int, int]:
        """The least is best: loaded, first in the video, and by whom has loaded least.

        Once all goals are taken up, frames come last: they are short, and fill what is left.
        """
        worker, kind = pair
        kinds = self.hands[worker].kinds
        return (
            self._ending and kind not in LATENTS,
            kinds.isdisjoint(ALIKE[kind]),
            self._ready[kind][0][0],
            len(kinds),
            worker,
        )

    def _look_ahead(self) -> None:
        """Take up goals as far as is worked ahead. Those that are there already cost nothing."""
        while len(self._aims) < self._ahead:
            goal = next(self._goals, None)
            if goal is None:
                self._ending = True
                return
            self._open.append(goal)
            for task in missing(goal, self.graph, self._has):
                if task not in self._left:
                    self._take_up(task)
            if goal.kind is not Kind.PREVIEW and goal in self._left:  # these are on the way
                self._aims.add(goal)

    def _take_up(self, task: Task) -> None:
        self._left.add(task)
        self._place[task] = self._found
        self._found += 1
        self._unmet[task] = sum(need in self._left for need in self.graph.needs(task))
        if not self._unmet[task]:
            self._offer(task)

    def _offer(self, task: Task) -> None:
        self._unmet.pop(task, None)
        heapq.heappush(self._ready[task.kind], (self._place[task], task))

"""How long a run on many workers would take: its events in virtual time. No torch.

Tasks are handed out by the run's own `Scheduler`; what each takes is given. Frames are handed to
one encoder a video, which lets few of them wait (`render.WAITING`): then the driver waits, too.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from confiner_cli.runs.tasks import Kind, Task, TaskGraph
from confiner_cli.runs.workers.scheduler import Scheduler

SHOWN = (Kind.PREVIEW, Kind.CHUNK)
WAITING = 3
"""Chunks that may wait for their encoder, beside the one that it is at."""


@dataclass(frozen=True)
class Seconds:
    """What the parts of a run take.

    Attributes:
        of: a task of each kind, on a worker.
        cold: how much longer a worker's first task of a kind takes, which loads networks.
        encode: what the encoder takes for the frames of a task.
        start: until a worker is there.
        driver: what the driver does for each result, one after another.
        finish: what comes after the last task: the parts joined, the contact sheet.
    """

    of: Mapping[Kind, float]
    cold: Mapping[Kind, float] = field(default_factory=dict)
    encode: float = 0.0
    start: float = 0.0
    driver: float = 0.0
    finish: float = 0.0

    def warm(self) -> Seconds:
        """Of a process that has loaded all before, as in a sweep."""
        return replace(self, cold={}, start=0.0)

    def task(self, kind: Kind, is_first: bool) -> float:
        """What a worker takes for a task; `is_first` is its first one of the kind."""
        return self.of[kind] + (self.cold.get(kind, 0.0) if is_first else 0.0)


@dataclass(frozen=True)
class Forecast:
    """A run that was simulated.

    Attributes:
        workers: how many.
        total: seconds, from the start of the workers to the end.
        busy: seconds that all workers together are at tasks, without what loading adds.
        first: seconds until the video's first frames are there.
        order: the tasks in the order in which they end.
    """

    workers: int
    total: float
    busy: float
    first: float
    order: tuple[Task, ...]

    @property
    def efficiency(self) -> float:
        """The share of the workers' time that is spent on tasks."""
        return self.busy / (self.workers * self.total)


def simulate(
    graph: TaskGraph, seconds: Seconds, workers: int, done: Iterable[Task] = ()
) -> Forecast:
    """Simulate a run.

    Args:
        graph: its tasks, of a video that ends.
        seconds: what they take.
        workers: how many there are.
        done: tasks whose results are there already.
    """
    simulation = _Simulation(graph, seconds, workers, set(done))
    simulation.run()
    return simulation.forecast()


class _Simulation:
    """The state of a simulated run: the scheduler's, and when each part is free again."""

    def __init__(self, graph: TaskGraph, seconds: Seconds, workers: int, done: set[Task]) -> None:
        self.seconds, self.workers, self.done = seconds, workers, done
        self.scheduler = Scheduler(graph.goals(), graph, done.__contains__, workers)
        self.ends: list[tuple[float, int, Task]] = []
        self.order: list[Task] = []
        self.busy = self.now = self.first = 0.0
        # When the frames that an encoder has been given are encoded, one time each.
        self.encoded: dict[Kind, list[float]] = {kind: [] for kind in SHOWN}

    def run(self) -> None:
        """All events, in their order."""
        self.now = self.seconds.start
        for worker in range(self.workers):
            self.scheduler.join(worker)
        self._hand_out()
        while self.ends:
            end, worker, task = heapq.heappop(self.ends)
            self.now = max(self.now, end)
            self._take(worker, task)

    def forecast(self) -> Forecast:
        """What came of it."""
        encoded = [times[-1] for times in self.encoded.values() if times]
        total = max([self.now, *encoded]) + self.seconds.finish
        return Forecast(self.workers, total, self.busy, self.first, tuple(self.order))

    def _hand_out(self) -> None:
        while (order := self.scheduler.next()) is not None:
            kind = order.task.kind
            self.busy += self.seconds.of[kind]
            end = self.now + self.seconds.task(kind, order.is_first)
            heapq.heappush(self.ends, (end, order.worker, order.task))

    def _take(self, worker: int, task: Task) -> None:
        """What the driver does with a result: first it hands out what comes next."""
        self.order.append(task)
        self.done.add(task)
        self.scheduler.finish(worker)
        self._hand_out()
        self.now += self.seconds.driver
        if task.kind in SHOWN:
            self._encode(task.kind)
        for goal in self.scheduler.watchable():
            if goal == Task(Kind.CHUNK, 0):
                self.first = self.now

    def _encode(self, kind: Kind) -> None:
        """Frames are handed over once there is room for them."""
        times = self.encoded[kind]
        if len(times) > WAITING:
            self.now = max(self.now, times[-1 - WAITING])
        begun = max([self.now, *times[-1:]])
        times.append(begun + self.seconds.encode)

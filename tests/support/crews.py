"""A crew without processes: workers that answer in whatever order a test says."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field

from support.pipelines import as_they_are, joined, plain

from confiner_cli.runs.meter import Meter
from confiner_cli.runs.perform import Performer
from confiner_cli.runs.ready import Ready
from confiner_cli.runs.workers.crew import Crew
from confiner_cli.runs.workers.travelling import Answer, Setup, packed, unpacked
from confiner_cli.runs.workers.worker import WorkerDiedError

NOTHING = {"evaluations": {}, "passes": {}, "seconds": {}, "peak_memory_bytes": 0}
READY = Ready((), "high", {}, 1, "cpu", "float32", "here", {}, 2, None)


@dataclass
class Quiet:
    """A witness who tells nobody."""

    meter: Meter = field(default_factory=Meter)
    events: list = field(default_factory=list)

    def record(self, event, **facts):
        self.events.append((event, facts))

    def turned(self, task, backwards):
        pass

    def tell(self, stage):
        pass

    def check(self):
        pass


@dataclass
class Stand:
    """A worker of toy experts. What is asked of it lies there until it is told to answer."""

    pipeline: object
    ready: Ready = READY
    asked: list = field(default_factory=list)
    dismissed: bool = False

    def ask(self, message):
        assert not self.asked and not self.dismissed, "one thing at a time"
        call = Future()
        self.asked.append((call, pickle.loads(pickle.dumps(message))))
        return call

    def dismiss(self):
        self.dismissed = True

    def answer(self):
        call, message = self.asked.pop()
        call.set_result(pickle.loads(pickle.dumps(self._reply(message))))

    def die(self):
        self.asked.pop()[0].set_exception(WorkerDiedError("SIGKILL"))

    def _reply(self, message):
        if isinstance(message, Setup):
            return self.ready
        perform = Performer(
            self.pipeline, lambda task: plain, joined(self.pipeline), show=as_they_are
        )
        needed = {task: unpacked(result, 1) for task, result in message.needed.items()}
        event = ("stage", {"stage": str(message.task.kind), "index": message.task.number})
        return Answer(packed(perform(message.task, needed)), 1.0, [event], NOTHING, ())


class Timed(Crew):
    """A crew whose workers answer when they would, in virtual time.

    Args:
        make: makes a worker.
        count: how many.
        seconds: what tasks take.
    """

    def __init__(self, make, count, seconds):
        self.now, self.seconds, self.ends, self.order = 0.0, seconds, {}, []
        super().__init__(make, count, threads=1)
        self.load([])

    def ask(self, number, message):
        super().ask(number, message)
        task = getattr(message, "task", None)
        self.ends[number] = self.now + (0.0 if task is None else self.seconds.of[task.kind])

    def replies(self):
        self.now = min(self.ends.values())
        # All that begin at once; else one after another, as a simulation has it.
        first = [number for number, end in sorted(self.ends.items()) if end == self.now]
        for number in first if not self.now else first[:1]:
            stand = self._workers[number]
            self.order += [getattr(stand.asked[0][1], "task", None)]
            del self.ends[number]
            stand.answer()
        return super().replies()


class Conducted(Crew):
    """A crew whose workers answer, or die, in an order that is drawn.

    Args:
        make: makes a worker.
        count: how many.
        seed: of the order.
        deaths: the share of messages that a worker dies at.
    """

    def __init__(self, make, count, seed, deaths=0.0):
        self.draw, self.deaths, self.stands = random.Random(seed), deaths, []
        self.most, self.handed = 0, Counter()

        def hire():
            self.stands.append(make())
            return self.stands[-1]

        super().__init__(hire, count, threads=1)
        self.load([])

    def ask(self, number, message):
        super().ask(number, message)
        self.handed[getattr(message, "task", None)] += 1
        self.most = max(self.most, sum(bool(stand.asked) for stand in self.stands))

    def replies(self):
        waiting = [stand for stand in self.stands if stand.asked]
        for stand in self.draw.sample(waiting, self.draw.randint(1, len(waiting))):
            is_task = not isinstance(stand.asked[0][1], Setup)
            died = is_task and self.draw.random() < self.deaths
            stand.die() if died else stand.answer()
        return super().replies()

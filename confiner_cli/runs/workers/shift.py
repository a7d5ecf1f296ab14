"""Goals brought about by a crew: tasks handed out, results written down by the driver alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from time import monotonic
from typing import Protocol

from confiner_cli.method.pipeline import Structure
from confiner_cli.runs.executor import Store, discard_unneeded
from confiner_cli.runs.hands import Witness
from confiner_cli.runs.perform import Result
from confiner_cli.runs.tasks import Kind, Task, TaskGraph
from confiner_cli.runs.workers.scheduler import Scheduler
from confiner_cli.runs.workers.travelling import (
    Answer,
    Message,
    Order,
    Packed,
    Reply,
    packed,
    unpacked,
)
from confiner_cli.runs.workers.worker import WorkerDiedError


class Asked(Protocol):
    """What a shift needs of its crew; see `crew.Crew`."""

    said: list[str]
    idle: set[int]

    def __len__(self) -> int:
        """How many workers there are."""

    def ask(self, number: int, message: Message) -> None:
        """Give an idle worker something to do."""

    def replies(self) -> list[tuple[int, Reply | WorkerDiedError]]:
        """What workers have answered."""

    def take(self, number: int, reply: Reply | WorkerDiedError, task: Task | None = None) -> None:
        """What a reply means for the crew."""

    def name(self, number: int) -> str:
        """What a worker is called."""


class Shift:
    """One call of `Crew.bring_about`; arguments as there.

    Latents lie in the store. The driver holds the results that came last, until they are stored:
    before that, their workers are given something else to do.
    """

    def __init__(
        self,
        crew: Asked,
        goals: Iterable[Task],
        graph: TaskGraph,
        store: Store[Result],
        witness: Witness,
        frames_at_once: int,
    ) -> None:
        self.crew, self.graph, self.store, self.witness = crew, graph, store, witness
        self.frames_at_once = frames_at_once
        self.arrived: dict[Task, Packed] = {}
        self.scheduler = Scheduler(goals, graph, self._has, len(crew))
        for number in sorted(crew.idle):
            self.scheduler.join(number)

    def work(self) -> Iterator[Task]:
        """Until all goals are there; yields them in their order."""
        yield from self.scheduler.watchable()
        while not self.scheduler.finished:
            self._hand_out()
            answers: list[tuple[int, Task, Answer]] = []
            try:
                answers.extend(self._answers())
                self._hand_out()
            finally:  # what one worker fails of costs nothing that others have done
                for number, task, answer in answers:
                    self._store(number, task, answer)
            yield from self.scheduler.watchable()

    def _has(self, task: Task) -> bool:
        return task in self.arrived or self.store.has(task)

    def _hand_out(self) -> None:
        while (order := self.scheduler.next()) is not None:
            needed = {need: self._needed(order.task, need) for need in self.graph.needs(order.task)}
            self.crew.ask(order.worker, Order(order.task, needed))

    def _needed(self, task: Task, need: Task) -> Packed:
        """A result that a task needs; the noises of a structure are for the next structure."""
        result = self.arrived[need] if need in self.arrived else packed(self.store.get(need))
        if isinstance(result, Structure) and task.kind is not Kind.STRUCTURE:
            return replace(result, noises={})
        return result

    def _answers(self) -> Iterator[tuple[int, Task, Answer]]:
        """The tasks that workers have done by now, waited for; with their workers' numbers."""
        started = monotonic()
        replies = self.crew.replies()
        self.witness.meter.add("idle", monotonic() - started)
        for number, reply in replies:
            hand = self.scheduler.hands.get(number)
            task = None if hand is None else hand.task
            if isinstance(reply, WorkerDiedError) and hand is not None:
                self.scheduler.leave(number)
            self.crew.take(number, reply, task)
            if isinstance(reply, Answer) and task is not None:
                self.arrived[task] = reply.result
                self.scheduler.finish(number)
                yield number, task, reply
            elif number in self.crew.idle:  # it is ready, or done with what nobody waits for
                self.scheduler.join(number)

    def _store(self, number: int, task: Task, answer: Answer) -> None:
        self._tell(number, task, answer)
        result: Result = unpacked(answer.result, self.frames_at_once)
        if isinstance(result, Structure):
            self.witness.turned(task, result.backwards)
        self.store.put(task, result)
        del self.arrived[task]
        discard_unneeded(self.graph, self.store)

    def _tell(self, number: int, task: Task, answer: Answer) -> None:
        """Count and write down what a task took. Before its result: see `render`."""
        meter = self.witness.meter
        meter.take_over(answer.spent)
        meter.took[task] = answer.seconds
        self.crew.said += answer.messages
        for event, facts in answer.events:
            self.witness.record(event, worker=self.crew.name(number), **facts)
            if event == "visit":
                self.witness.tell(str(facts["stage"]))
        self.witness.check()

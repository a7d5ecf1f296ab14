"""The workers of a run: hired, asked, and hired anew where one dies."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NoReturn, Self

from confiner_cli import progress
from confiner_cli.config.job import Job
from confiner_cli.errors import FailedError
from confiner_cli.runs.hands import Witness
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.ready import Ready
from confiner_cli.runs.tasks import Task, TaskGraph
from confiner_cli.runs.threads import computing_with
from confiner_cli.runs.weights import changed_parts
from confiner_cli.runs.workers.shift import Shift
from confiner_cli.runs.workers.travelling import Failure, Message, Reply, Setup
from confiner_cli.runs.workers.worker import Worker, WorkerDiedError
from confiner_cli.runs.write_behind import WriteBehind

TRIES = 3
"""So many workers may die at one task, or before they are ready."""
FILES_THERE = "`confiner experts download`, or a cache that all machines share (HF_HOME)"
"""How the files of experts come to a machine."""
PATIENCE = 30.0
"""Seconds after which it is said that workers are waited for."""


class Crew:
    """See `hands.Hands`.

    Args:
        hire: starts a worker.
        count: how many there are to be.
        threads: how many each computes with on the CPU.
        gpus: whether each has a GPU of its own, by its number.
    """

    def __init__(
        self, hire: Callable[[], Worker], count: int, threads: int, gpus: bool = False
    ) -> None:
        self.idle: set[int] = set()
        self.said: list[str] = []
        self._hire, self._threads, self._gpus = hire, threads, gpus
        self._workers = {number: hire() for number in range(count)}
        self._calls: dict[Future[Reply], int] = {}
        self._hosts: dict[int, str] = {}
        self._deaths: Counter[Task | None] = Counter()
        self._jobs: tuple[Job, ...] = ()
        self._first: Ready | None = None

    def __len__(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers.values():
            worker.dismiss()

    def begin(self, jobs: Sequence[Job]) -> tuple[Meter, str]:  # noqa: ARG002
        """See `Hands`. What the device is called, workers say."""
        return Meter(), ""

    def computing(self, jobs: Sequence[Job]) -> AbstractContextManager[None]:  # noqa: ARG002
        """See `Hands`. The CPUs are the workers'."""
        return computing_with(1)

    def load(self, jobs: Sequence[Job]) -> Ready:
        """Wait for the first worker that is ready; the others come when they are.

        Raises:
            ConfinerError: what a worker that loads fails of, with its name.
        """
        self._jobs = tuple(jobs)
        for number in self._workers:
            self._set_up(number)
        while self._first is None:
            for number, reply in self.replies():
                self.take(number, reply)
        return self._first

    def bring_about(
        self, goals: Iterable[Task], graph: TaskGraph, store: WriteBehind, witness: Witness
    ) -> Iterator[Task]:
        """See `Hands`.

        Raises:
            ConfinerError: what a task fails of, with the worker's name; or workers die at it.
        """
        assert self._first is not None
        return Shift(self, goals, graph, store, witness, self._first.frames_at_once).work()

    def compile_seconds(self) -> float:
        """See `Hands`. Answers have them."""
        return 0.0

    def messages(self) -> Sequence[str]:
        """See `Hands`."""
        return self.said

    def name(self, number: int) -> str:
        """What a worker is called in messages and events."""
        host = self._hosts.get(number)
        return f"worker {number}" if host is None else f"worker {number} on {host}"

    def ask(self, number: int, message: Message) -> None:
        """Give an idle worker something to do."""
        self.idle.discard(number)
        self._calls[self._workers[number].ask(message)] = number

    def replies(self) -> list[tuple[int, Reply | WorkerDiedError]]:
        """What workers have answered; waited for where there is nothing. Failures come last."""
        assert self._calls, "nobody is at work"
        while not (done := wait(self._calls, PATIENCE, FIRST_COMPLETED).done):
            if not self._hosts:
                progress.say("waiting for the first worker")
        found: list[tuple[int, Reply | WorkerDiedError]] = []
        for call in done:
            number = self._calls.pop(call)
            error = call.exception()
            if error is None:
                found.append((number, call.result()))
            elif isinstance(error, WorkerDiedError):
                found.append((number, error))
            else:
                raise error
        return sorted(found, key=lambda each: (isinstance(each[1], Failure), each[0]))

    def take(self, number: int, reply: Reply | WorkerDiedError, task: Task | None = None) -> None:
        """What a worker's reply means for the crew.

        Args:
            number: the worker's.
            reply: to its setup, or to the task that it was at.
            task: that one.

        Raises:
            ConfinerError: what it has failed of; too many workers have died of it.
        """
        if isinstance(reply, WorkerDiedError):
            self._replace(number, reply, task)
            return
        if isinstance(reply, Failure):
            self._raise(number, reply)
        if isinstance(reply, Ready):
            self._welcome(number, reply)
        self.idle.add(number)

    def _set_up(self, number: int) -> None:
        self.ask(number, Setup(self._jobs, number, self._threads, self._gpus))

    def _welcome(self, number: int, ready: Ready) -> None:
        self._hosts[number] = ready.host
        self._deaths[None] = 0
        if self._first is None:
            self._first = ready
            return
        for change in changed_parts(self._first.weights, ready.weights):
            raise FailedError(
                f"{self.name(number)} has other weights than those of {self._first.host}: {change}",
                "give every machine the same files: `confiner experts check` on each",
            )
        for package, version in ready.versions.items():
            if version != self._first.versions[package]:
                progress.say(
                    f"notice: {self.name(number)} has {package} {version}, {self._first.host} has "
                    f"{self._first.versions[package]}: last bits may differ"
                )

    def _replace(self, number: int, death: WorkerDiedError, task: Task | None) -> None:
        at = "before it was ready" if task is None else f"at {task.kind} {task.number}"
        died = f"{self.name(number)} died {at} ({death})"
        self._deaths[task] += 1
        if self._deaths[task] >= TRIES:
            raise FailedError(
                f"{died}, as others did before: {TRIES} in all",
                "if there is too little memory, take fewer workers=; what is finished is kept",
            )
        progress.say(f"notice: {died}; another one takes its place")
        self._workers[number].dismiss()
        self._hosts.pop(number, None)
        self._workers[number] = self._hire()
        self._set_up(number)

    def _raise(self, number: int, failure: Failure) -> NoReturn:
        error, loaded = failure.error, number in self._hosts
        hint = error.hint
        if not loaded and failure.host != socket.gethostname():
            hint += f"; on {failure.host}, too: {FILES_THERE}"
        self._hosts[number] = failure.host
        raise type(error)(f"{self.name(number)}: {error}", hint)

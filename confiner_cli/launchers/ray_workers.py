"""Workers on Ray: processes that carry out one job after another, and are replaced if they die."""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from confiner_cli import progress
from confiner_cli.errors import FailedError, Terminated
from confiner_cli.launchers.ray_room import Room
from confiner_cli.launchers.sent import SentJob, SentSweep
from confiner_cli.runs.signals import stoppable
from confiner_cli.runs.wait_policy import wait_asleep

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
BETWEEN_LOOKS = 0.05
TO_END = 15.0
"""Seconds that workers have to write down that they were interrupted."""


class Worker:
    """What lives in a worker's process: torch and weights come with the first job, and stay.

    Args:
        swept: the sweep, pickled: nothing heavy is imported before the process is made ready.
        folder: where the command works: what jobs name may be relative to it.
    """

    def __init__(self, swept: bytes, folder: str) -> None:
        wait_asleep()
        with suppress(OSError):  # another machine may not have it
            os.chdir(folder)
        self.swept: SentSweep = pickle.loads(swept)  # noqa: S301

    def place(self) -> tuple[str, int]:
        """The machine, and the process on it; the answer says that the worker is there."""
        return socket.gethostname(), os.getpid()

    def run(self, job: SentJob) -> JobReturn:
        """Carry a job out. SIGTERM ends it, and the process, with its state written down."""
        try:
            with stoppable():
                return self.swept.run(job)
        except (KeyboardInterrupt, Terminated):
            os._exit(128 + signal.SIGTERM)


class Workers:
    """As many workers as there is room for, each with a job until there are no more.

    Args:
        logs: where what they print lies.
        swept: the sweep.
        room: how many, and what each has.
        max_retries: how often a job is tried again whose worker died.
    """

    def __init__(self, logs: str, swept: SentSweep, room: Room, max_retries: int) -> None:
        import cloudpickle
        import ray

        self.logs = logs
        self.room = room
        self.max_retries = max_retries
        self.swept = swept
        self._shared = ray.put(cloudpickle.dumps(swept))
        self._kind = ray.remote(num_cpus=room.num_cpus, num_gpus=room.num_gpus)(Worker)
        self._workers: dict[Any, tuple[str, int] | None] = {}
        """Whether a worker is there, and where."""
        self._asked: dict[Any, tuple[Any, SentJob | None]] = {}
        """By what is waited for: of whom, and with which job."""

    def carry_out(self, jobs: Sequence[SentJob]) -> dict[SentJob, JobReturn]:
        """What jobs have returned, once all have or are lost, which is told."""
        import ray

        found: dict[SentJob, JobReturn] = {}
        waiting = deque(jobs)
        died: Counter[SentJob] = Counter()
        while len(found) < len(jobs):
            self._fill_up(min(self.room.workers, len(jobs) - len(found)))
            self._hand_out(waiting)
            # Not waited for in Ray itself: a signal's exception would not leave it.
            ready, _ = ray.wait(list(self._asked), timeout=0)
            for each in ready:
                self._receive(each, waiting, died, found)
            if not ready:
                time.sleep(BETWEEN_LOOKS)
        return found

    def close(self) -> None:
        """End all workers: those on this machine may write down that they were interrupted."""
        import ray

        if any(job for _, job in self._asked.values()):
            self._interrupt()
        for worker in self._workers:
            ray.kill(worker)

    def _fill_up(self, number: int) -> None:
        while len(self._workers) < number:
            worker = self._kind.remote(self._shared, str(Path.cwd()))
            self._workers[worker] = None
            self._asked[worker.place.remote()] = worker, None

    def _hand_out(self, waiting: deque[SentJob]) -> None:
        busy = {worker for worker, _ in self._asked.values()}
        for worker in [each for each in self._workers if each not in busy]:
            if waiting:
                job = waiting.popleft()
                self._asked[worker.run.remote(job)] = worker, job

    def _receive(
        self,
        answer: Any,
        waiting: deque[SentJob],
        died: Counter[SentJob],
        found: dict[SentJob, JobReturn],
    ) -> None:
        """Take what a worker answers: where it is, what a job returned, or that it has died."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        worker, job = self._asked.pop(answer)
        try:
            answered = ray.get(answer)
        except RayError as error:
            if job is None or not isinstance(error, RayTaskError):
                self._workers.pop(worker, None)
            if job is None:
                self._count_start(error)
                return
            died[job] += 1
            if isinstance(error, RayTaskError) or died[job] > self.max_retries:
                found[job] = self._lost(job, error, died[job])
            else:
                progress.say(f"job {job.name} is tried again: its Ray worker ended: {_why(error)}")
                waiting.appendleft(job)
            return
        if job is None:
            self._workers[worker] = answered
        else:
            found[job] = answered

    def _count_start(self, error: Exception) -> None:
        """A worker has died before it had a job; where none ever starts, nothing comes of it."""
        if not any(self._workers.values()):
            raise FailedError(
                f"no Ray worker starts: {_why(error)}", f"its log is in {self.logs}"
            ) from error

    def _lost(self, job: SentJob, error: Exception, times: int) -> JobReturn:
        often = f" {times} times" if times > 1 else ""
        failure = FailedError(
            f"its Ray worker ended{often} before it was done: {_why(error)}",
            f"logs are in {self.logs}",
        )
        return self.swept.lost(job, failure)

    def _interrupt(self) -> None:
        """Ask workers on this machine to end, and wait a moment until they have."""
        import ray

        here = socket.gethostname()
        asked = [answer for answer, (worker, job) in self._asked.items() if job is not None]
        for worker, job in self._asked.values():
            place = self._workers.get(worker)
            if job is not None and place is not None and place[0] == here:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(place[1], signal.SIGTERM)
        with suppress(Exception):
            ray.wait(asked, num_returns=len(asked), timeout=TO_END)


def _why(error: Exception) -> str:
    """What Ray says last: a traceback ends with the error."""
    lines = [line.strip() for line in _COLOR.sub("", str(error)).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

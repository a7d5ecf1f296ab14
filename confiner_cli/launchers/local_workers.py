"""Processes of this machine that carry out one job after another: loky's, which joblib brings."""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from hydra.core.utils import JobReturn

from confiner_cli.errors import Terminated
from confiner_cli.launchers.packs import read_shared
from confiner_cli.launchers.sent import SentJob, SentSweep
from confiner_cli.runs.signals import stoppable
from confiner_cli.runs.wait_policy import wait_asleep

IDLE = 600
"""Seconds after which a process without a job ends."""
BETWEEN_LOOKS = 0.2
TO_END = 15.0
"""Seconds that processes have to write down that they were interrupted."""


class LocalWorkers:
    """So many processes.

    Args:
        folder: where what jobs share is, and which process is at which job.
        number: of processes.
        environment: what theirs has beside ours.
    """

    def __init__(self, folder: Path, number: int, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.number = number
        self.environment = dict(environment)

    def carry_out(self, jobs: Sequence[SentJob], found: dict[SentJob, JobReturn]) -> list[SentJob]:
        """Carry jobs out until all are done or a process has died.

        Args:
            jobs: as many of them at once as there are processes.
            found: what they have returned is added.

        Returns:
            The jobs that were at work when one died.
        """
        from joblib.externals.loky import get_reusable_executor

        pool = get_reusable_executor(
            self.number,
            timeout=IDLE,
            env=self.environment,
            initializer=make_ready,
            initargs=(os.getpid(),),
        )
        waiting = deque(jobs)
        asked: dict[Future[JobReturn], SentJob] = {}
        try:
            while waiting or asked:
                while waiting and len(asked) < 2 * self.number:
                    job = waiting.popleft()
                    asked[pool.submit(run, self.folder, job)] = job
                for done in wait(asked, BETWEEN_LOOKS, FIRST_COMPLETED).done:
                    found[asked[done]] = done.result()
                    del asked[done]
        except BrokenProcessPool:
            self._keep(asked, found)
            return [job for job in jobs if job not in found and self._process(job) is not None]
        except BaseException:
            self._interrupt()
            pool.shutdown(wait=True, kill_workers=True)
            raise
        finally:
            for path in self.folder.glob("*.begun"):
                path.unlink()
        return []

    def _keep(
        self, asked: Mapping[Future[JobReturn], SentJob], found: dict[SentJob, JobReturn]
    ) -> None:
        """What was returned in the same moment is not lost."""
        for future, job in asked.items():
            if future.done() and future.exception() is None:
                found[job] = future.result()

    def _process(self, job: SentJob) -> int | None:
        with suppress(OSError, ValueError):
            return int(_begun(self.folder, job).read_text())
        return None

    def _interrupt(self) -> None:
        """Ask the processes that are at a job to end, and wait a moment until they have."""
        processes = {int(path.read_text() or 0) for path in self.folder.glob("*.begun")} - {0}
        deadline = time.monotonic() + TO_END
        for number in (signal.SIGTERM, 0):
            while processes and time.monotonic() < deadline:
                processes = {each for each in processes if _reached(each, number)}
                if number:
                    break
                time.sleep(BETWEEN_LOOKS)


def make_ready(parent: int) -> None:
    """Make one of the processes ready for jobs, before it has one.

    Args:
        parent: the process that launches. When it is gone, however it ended, this one ends, too.
    """
    wait_asleep()  # torch comes with the sweep
    # A terminal sends Ctrl-C to all processes: the one that launches ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keep_weights()
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def run(folder: Path, job: SentJob) -> JobReturn:
    """Carry a job out, in one of the processes. SIGTERM ends it, with its state written down."""
    begun = _begun(folder, job)
    begun.write_text(str(os.getpid()))
    try:
        with stoppable():
            returned = _swept(folder).run(job)
    except Terminated:
        os._exit(128 + signal.SIGTERM)
    begun.unlink(missing_ok=True)
    return returned


def _end_with(parent: int) -> None:
    """Wait until a parent is gone, and end; a job at work is written down as interrupted."""
    while os.getppid() == parent:
        time.sleep(BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)


def _keep_weights() -> None:
    """Let loky not end this process for what it has loaded, which it would take for a leak."""
    from joblib.externals.loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize


@functools.lru_cache(maxsize=1)
def _swept(folder: Path) -> SentSweep:
    return read_shared(folder)


def _begun(folder: Path, job: SentJob) -> Path:
    return folder / f"{job.number}.begun"


def _reached(process: int, number: Any) -> bool:
    """Whether a process is there that a signal reaches; 0 is none."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)
        return True
    return False

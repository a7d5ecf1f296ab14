"""Processes beside each other: some that make videos when they are told to, some that are busy."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from neighbours.answer import Answer

SCRIPTS = Path(__file__).parents[1]
TO_BEGIN = 120.0
"""Seconds that a worker may take to import what it needs."""
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
"""A program that always has something to do, until nobody is there who wants it."""


class SlowError(Exception):
    """A run took longer than it may."""


class Worker:
    """A process that makes runs, one at a time; closed by `close`.

    Between runs it is stopped: threads that spin while they wait would do so until the next one.

    Args:
        words: the runs' settings.
        environment: the process's.
        batch: how many seeds are sampled together.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], batch: int = 1
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "neighbours.worker", str(batch), *words], cwd=SCRIPTS,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(environment), text=True,
            start_new_session=True,  # the scheduler shares CPUs out by sessions first
        )  # fmt: skip
        if self._line(TO_BEGIN) != "ready\n":
            raise RuntimeError(f"a worker did not begin: {' '.join(words)}")
        self._signal(signal.SIGSTOP)

    def begin(self) -> None:
        """Let it make a run."""
        self._signal(signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, limit: float) -> Answer:
        """What the run that it is making took.

        Raises:
            SlowError: it is not done in `limit` seconds.
        """
        answer = Answer(**json.loads(self._line(limit)))
        self._signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._signal(signal.SIGKILL)  # ffmpeg is a session of its own, and ends
        self.process.communicate()

    def _signal(self, what: signal.Signals) -> None:
        os.killpg(self.process.pid, what)

    def _line(self, limit: float) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], limit)
        if not ready:
            raise SlowError
        return self.process.stdout.readline()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many programs that always have something to do, while the body runs."""
    command = [sys.executable, "-c", BUSY]
    others = [subprocess.Popen(command, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()

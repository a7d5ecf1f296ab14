"""A worker's process: made ready as the command's own is, and what it answers.

What is heavy is imported once the process is made ready for it.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

from confiner_cli.errors import named_error
from confiner_cli.experts.lean_imports import OWN_PROCESS, import_libraries
from confiner_cli.runs.freed_memory import keep_freed_memory
from confiner_cli.runs.wait_policy import wait_asleep

if TYPE_CHECKING:
    from confiner_cli.runs.ready import Ready
    from confiner_cli.runs.workers.travelling import Answer, Message, Order, Reply, Setup
    from confiner_cli.runs.workers.work import Work


class Post:
    """Where a driver's messages arrive."""

    def __init__(self) -> None:
        """Make the process ready for experts: it is the worker's own."""
        wait_asleep()
        OWN_PROCESS.set(True)
        # A terminal's Ctrl-C reaches all processes; the driver says what comes of it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.dup2(2, 1)  # stdout is the driver's: paths of videos
        import_libraries()
        keep_freed_memory()
        from confiner_cli.runs.threads import one_pool

        one_pool()
        self._work: Work | None = None

    def answer(self, message: Message) -> Reply:
        """Do what the driver asks for; an error is an answer, too."""
        from confiner_cli.runs.workers.travelling import Failure, Setup

        try:
            return self._set_up(message) if isinstance(message, Setup) else self._do(message)
        except Exception as error:
            work = self._work
            stage = "load" if work is None else work.meter.stage
            memory = "auto" if work is None else work.setup.jobs[0].settings.memory
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                import traceback

                traceback.print_exc()
            return Failure(named_error(error, stage, memory), socket.gethostname())

    def _set_up(self, setup: Setup) -> Ready:
        from confiner_cli.runs.workers.work import Work

        work = Work(setup)
        ready = work.load()
        self._work = work
        return ready

    def _do(self, order: Order) -> Answer:
        assert self._work is not None
        return self._work.do(order)

"""Workers that are processes of this machine. Nothing heavy is imported here."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.forkserver import ensure_running
from threading import Thread
from typing import TYPE_CHECKING, TypeAlias

from confiner_cli.runs.workers.post import Post
from confiner_cli.runs.workers.worker import WorkerDiedError

if TYPE_CHECKING:
    from confiner_cli.runs.workers.travelling import Message, Reply

Context: TypeAlias = ForkServerContext | SpawnContext
"""How processes are started. A fork of this one would inherit torch's locks."""
NEW: Context = multiprocessing.get_context("spawn")
"""Each process imports for itself. On GPUs it is the only way: diffusers asks for them when it is
imported, and a process that is forked afterwards cannot use them."""
IMPORTED = "confiner_cli.runs.workers.imported"
"""What the server of forks imports before it forks."""


def importing() -> Context:
    """Start the server that workers are forked from: it imports while this process goes on.

    Not where workers compute on GPUs: see `NEW`, which this is where there are no such servers.
    """
    if sys.platform != "linux":
        return NEW
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([IMPORTED])
    with _uninterrupted():
        ensure_running()
    return context


class ProcessWorker:
    """A process that answers through a pipe. It ends when this one does, however that ends.

    Args:
        context: how the process is started.
    """

    def __init__(self, context: Context) -> None:
        """Start the process; it imports what it needs while this one goes on."""
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _uninterrupted():
            self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self._thread = ThreadPoolExecutor(max_workers=1)

    def ask(self, message: Message) -> Future[Reply]:
        """See `Worker`."""
        return self._thread.submit(self._asked, message)

    def dismiss(self) -> None:
        """See `Worker`."""
        self.process.kill()
        self.process.join()
        self._thread.shutdown()
        self._connection.close()

    def _asked(self, message: Message) -> Reply:
        try:
            self._connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
            reply: Reply = pickle.loads(self._connection.recv_bytes())  # noqa: S301
        except (EOFError, OSError) as error:
            self.process.join()
            raise WorkerDiedError(_ending(self.process.exitcode)) from error
        return reply


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"it ended with {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        # It is what Linux does to a process when there is no memory left.
        return f"{name}, as where there is no memory left" if name == "SIGKILL" else name
    return f"signal {-code}"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process that is started in the body never hears of Ctrl-C; this one hears of it later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection) -> None:
    """What the process does: answer, until nobody asks any more."""
    Thread(target=_end_with_parent, daemon=True).start()
    post = Post()
    with suppress(EOFError, OSError):
        while True:
            message = pickle.loads(connection.recv_bytes())  # noqa: S301
            connection.send_bytes(pickle.dumps(post.answer(message), pickle.HIGHEST_PROTOCOL))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

"""`confiner` in a process of its own, forked where its libraries are imported already.

To import them takes longer than most runs here. All that makes it a process is its own: signals,
exit code, locks, working folder and files.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Self

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["confiner_cli.commands.generate", "confiner_cli.commands.resume", "confiner_cli.runs.execute",
     "confiner_cli.experts.families.animatediff"]
)  # fmt: skip


class Forked:
    """A process that runs `confiner` in `folder`, with what tests use of `subprocess.Popen`.

    Args:
        prepare: called in it before the command.
        arguments: the command's.
        folder: where it works.
    """

    def __init__(self, prepare: Callable[[], object], *arguments: str, folder: Path) -> None:
        self.texts = tempfile.TemporaryDirectory()
        work = (prepare, arguments, folder, Path(self.texts.name), dict(os.environ))
        self.process = CONTEXT.Process(target=_run, args=work)
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("confiner", timeout)
        out, err = ((Path(self.texts.name) / name).read_text() for name in ("out", "err"))
        return out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.join()
        self.texts.cleanup()


def forked(*arguments: str, folder: Path) -> Forked:
    """Start the command in `folder`."""
    return Forked(int, *arguments, folder=folder)


def _run(
    prepare: Callable[[], object],
    arguments: tuple[str, ...],
    folder: Path,
    texts: Path,
    environment: dict[str, str],
) -> None:
    gc.freeze()
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(texts / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND), descriptor)
    # Shells start background jobs with Ctrl-C ignored, which children inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["confiner", *arguments]
    prepare()
    from confiner_cli.cli import entry

    entry()

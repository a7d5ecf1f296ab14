"""One process a run folder. The system lets go of a dead process's lock, so none is ever stale."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from confiner_cli.errors import ConfinerError

NAME = ".lock"
SECONDS_OF_PATIENCE = 0.2
"""Waited for a holder that is just leaving, or for a gallery that looks."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock in the body; its file says who has it, and is gone afterwards.

    Raises:
        ConfinerError: another process has it.
    """
    path = folder / NAME
    # A file system without locks is an error: a file that merely exists would outlive a kill.
    lock = FileLock(path, timeout=SECONDS_OF_PATIENCE, fallback_to_soft=False)
    try:
        held = lock.acquire()
    except Timeout as error:
        raise in_use(folder, _holder(path)) from error
    with held:
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is ours: once let go of, it may be another's


def is_locked(folder: Path) -> bool:
    """Whether a process on this machine has the folder's lock. Writes nothing."""
    try:
        with (folder / NAME).open("rb") as file:
            return not lock_descriptor(file.fileno(), blocking=False)
    except OSError:  # there is none
        return False


def in_use(folder: Path, holder: str = "") -> ConfinerError:
    """What to say where another process, which `holder` describes, has claimed the folder first."""
    by = f", {holder}" if holder else ""
    return ConfinerError(
        f"output.dir={folder} is in use by another run{by}", "wait for it, or name a new folder"
    )


def _holder(path: Path) -> str:
    with suppress(OSError):  # it has just left
        return path.read_text(encoding="utf-8").strip()
    return ""

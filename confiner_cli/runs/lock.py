"""One process a run folder. The system itself lets go of the lock when its holder dies, so no lock is ever stale."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from confiner_cli.errors import ConfinerError

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock in the body; its file says who has it, and is gone afterwards.

    Raises:
        ConfinerError: another process has it.
    """
    path = folder / NAME
    with _acquired(path, folder) as file:
        file.truncate(0)
        print(f"process {os.getpid()} on {socket.gethostname()}", file=file, flush=True)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_locked(folder: Path) -> bool:
    """Whether a process on this machine has the folder's lock."""
    try:
        with (folder / NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


@contextmanager
def _acquired(path: Path, folder: Path) -> Iterator[IO[str]]:
    while True:
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise in_use(folder, file.read().strip()) from error
            if os.fstat(file.fileno()).st_nlink:  # else its holder has just left and removed it
                yield file
                return


def in_use(folder: Path, holder: str = "") -> ConfinerError:
    """What to say where another process has claimed the folder first."""
    return ConfinerError(
        f"output.dir={folder} is in use by another run{holder and f', {holder}'}",
        "wait for it, or name a new folder",
    )

"""One process a run folder. The system lets go of a dead process's lock, so none is ever stale.

Where the disk has no locks, or nothing can be written, runs go on without.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from confiner_cli.errors import ConfinerError
from confiner_cli.progress import say_once

NAME = ".lock"
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
"""What file systems say that have none, as Lustre, CIFS and FUSE may."""
SECONDS_OF_PATIENCE = 0.2
"""Waited for a holder that is just leaving, or for a gallery that looks."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock in the body; its file says who has it, and is gone afterwards.

    Raises:
        ConfinerError: another process has it.
    """
    path = folder / NAME
    # Not a file that merely exists where there are no locks: it would outlive a kill.
    lock = FileLock(path, timeout=SECONDS_OF_PATIENCE, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise in_use(folder, _holder(path)) from error
    except OSError as error:
        _check_optional(error, path)
    try:
        if lock.is_locked:
            _describe(path)
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # while it is ours: once let go of, it may be another's
        lock.release()


def _check_optional(error: OSError, path: Path) -> None:
    """Raise what kept the lock from being taken, unless it can be done without.

    Where no file can be made, nothing else can be written either: what comes next says so.
    """
    if error.errno in WITHOUT_LOCKS:
        say_once(
            f"notice: the disk has no file locks ({error.strerror}): nothing keeps a second run "
            "out of the folder of this one"
        )
    elif path.exists():
        raise error


def _describe(path: Path) -> None:
    """Write down who has the lock, for those who are refused it; where there is no room, not."""
    with suppress(OSError):
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")


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

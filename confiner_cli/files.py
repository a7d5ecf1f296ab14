"""Files: written whole or not at all, and known by the hash of their content."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confiner_cli.progress import say_once

SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
UNFINISHED = ".*.writing*"
"""What the names of files and folders look like that are being written, or were by the dead."""
_WRITER = re.compile(r".*\.(?:(?P<machine>[0-9a-f]{8})-)?(?P<process>\d+)\.writing")
ABANDONED = 24 * 3600
"""Seconds after which nobody writes to a file any more, whichever machine's it is."""
SETTLED = 2.0
"""Seconds after which a file that is written again has other times, on any file system."""
LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ESTALE)
"""What a disk says that has lost bytes; whatever else it says, it only has no such call."""


def own_cache(name: str) -> Path:
    """The folder of what is kept under a name: `~/.cache/confiner/NAME`, or in XDG_CACHE_HOME.

    Raises:
        RuntimeError: there is no home.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "confiner" / name


def sha256(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to; what lies there when the body is left takes the name `path`.

    Whoever looks for `path` finds the old file or the new one, whole, also after a power cut. An
    error in the body leaves the old file and removes what was written. Others may read the file as
    any that the person makes, whatever wrote it. What killed processes have left of theirs in the
    folder is removed.
    """
    sweep(path.parent)
    with temporary_beside(path) as temporary:
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)  # what the umask makes of it
        yield temporary
        _set_mode(temporary, mode)
        _sync(temporary)  # before the name: else a power cut may leave an empty file under it
        temporary.replace(path)
        _sync(path.parent)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A path in the folder of `path`, with its suffix; what lies there is removed at the end.

    The name, `.STEM.MACHINE-PROCESS.writing.SUFFIX`, says whose it is where a kill leaves it
    behind.
    """
    temporary = path.with_name(f".{path.stem}.{_machine()}-{os.getpid()}.writing{path.suffix}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder_beside(path: Path) -> Iterator[Path]:
    """A folder for a writer that makes temporary files of its own; removed at the end."""
    folder = path.with_name(f".{path.stem}.{_machine()}-{os.getpid()}.writing")
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what processes that are dead by now were writing in a folder."""
    for path in folder.glob(UNFINISHED):
        with suppress(OSError):
            if _is_abandoned(path):
                remove_unfinished(path)


def remove_unfinished(path: Path) -> None:
    """Remove a file or folder that was being written, whoever did it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_abandoned(path: Path) -> bool:
    """Whether nobody writes to it any more: on this machine its process is asked for."""
    writer = _WRITER.match(path.name)
    if writer is None:
        return False
    if time.time() - path.stat().st_mtime > ABANDONED:
        return True
    return writer["machine"] == _machine() and not _is_alive(int(writer["process"]))


def _machine() -> str:
    """Eight digits for this machine: folders are shared, numbers of processes are not."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _set_mode(path: Path, mode: int) -> None:
    if stat.S_IMODE(path.stat().st_mode) != mode:
        with suppress(OSError):  # not every file system has modes
            path.chmod(mode)


def sync(descriptor: int) -> None:
    """Have the system write a file or a folder to the disk. Disks that cannot are told of, once.

    Raises:
        OSError: bytes are lost: the disk is full or failing.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in LOST:
            raise
        _tell_unsynced(error)


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError as error:  # it may be written and not be read
        _tell_unsynced(error)
        return
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _tell_unsynced(error: OSError) -> None:
    say_once(
        f"notice: the disk does not say when files are safely on it ({error.strerror}): a power "
        "cut may cost the last ones"
    )

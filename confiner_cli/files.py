"""Files: written whole or not at all, and known by the hash of their content."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confiner_cli.progress import say_once

SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ESTALE)
"""What a disk says that has lost bytes; whatever else it says, it only has no such call."""


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file: equal files have equal ones, wherever they lie.

    A file of the hub's cache is named by it and is not read.
    """
    name = path.resolve().name
    return name if SHA256(name) else sha256(path)


def sha256(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to; what lies there when the body is left takes the name `path`.

    Whoever looks for `path` finds the old file or the new one, whole, also after a power cut. An
    error in the body leaves the old file and removes what was written.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        _sync(temporary)  # before the name: else a power cut may leave an empty file under it
        temporary.replace(path)
        _sync(path.parent)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A path in the folder of `path`, with its suffix; what lies there is removed at the end.

    The name, `.STEM.PROCESS.writing.SUFFIX`, says whose it is where a kill leaves it behind.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.writing{path.suffix}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


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

"""Files: written whole or not at all, and known by the hash of their content."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch


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


def _sync(path: Path) -> None:
    """Have the system write a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

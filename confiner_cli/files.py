"""What is in files, in short: equal files have equal fingerprints, wherever they lie."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch


def fingerprint(files: Iterable[Path]) -> tuple[str, ...]:
    """The SHA-256 of each file. Files of the hub's cache are named by it and are not read."""
    return tuple(_hash(path.resolve(), path.stat().st_mtime_ns) for path in files)


@functools.lru_cache
def _hash(path: Path, changed: int) -> str:
    return path.name if SHA256(path.name) else sha256(path)


def sha256(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What is in files, in short."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch


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

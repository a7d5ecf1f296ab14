"""Files of the hub's cache held against their hashes, each once: the hub's client looks at sizes only.

The cache names a file by its hash: large ones by their SHA-256, small ones as git does, by the SHA-1 of length and
content.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from confiner_cli.errors import ConfinerError
from confiner_cli.files import SHA256, sha256

_GIT = re.compile(r"[0-9a-f]{40}").fullmatch


def verify(files: Iterable[Path]) -> None:
    """Hash the files whose names in the cache are hashes, unless that was done before.

    Raises:
        ConfinerError: a file is not what it should be; it is removed from the cache.
    """
    for path in files:
        blob = path.resolve()
        if not _mark(blob).exists():
            check(path)


def check(path: Path, expected: str = "") -> bool:
    """Hash one file and remember that it is right; False where no hash of it is known. Raises as `verify`.

    `expected` is the hash where the cache does not name the file by it: it does so only where it can make links.
    """
    blob = path.resolve()
    expected = expected or blob.name
    if not (SHA256(expected) or _GIT(expected)):
        return False
    found = sha256(blob) if SHA256(expected) else _git_hash(blob)
    if found != expected:
        _mark(blob).unlink(missing_ok=True)
        for damaged in (path, blob):
            damaged.unlink(missing_ok=True)
        raise ConfinerError(
            f"{path} was damaged: its content does not have the hash {expected[:12]}...; it has been removed",
            "run the same command again to fetch it once more",
        )
    with suppress(OSError):  # without a place for marks it is hashed again next time
        _mark(blob).parent.mkdir(parents=True, exist_ok=True)
        _mark(blob).touch()
    return True


def _git_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _mark(blob: Path) -> Path:
    """What says that this very file, unchanged since, was hashed."""
    facts = blob.stat()
    name = hashlib.sha256(f"{blob}:{facts.st_size}:{facts.st_mtime_ns}".encode()).hexdigest()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "confiner" / "verified" / name

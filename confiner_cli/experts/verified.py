"""Files of the hub's cache held against their hashes, each once: the hub's client looks at sizes only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.fingerprint import SHA256, sha256


def verify(files: Iterable[Path]) -> None:
    """Hash the files whose name in the cache is a hash (large files' are), unless that was done before.

    Raises:
        ConfinerError: a file is not what it should be; it is removed from the cache.
    """
    for path in files:
        blob = path.resolve()
        if SHA256(blob.name) and not _mark(blob).exists():
            check(path)


def check(path: Path) -> None:
    """Hash one file of the cache and remember that it is right. Raises as `verify`."""
    blob = path.resolve()
    if not SHA256(blob.name):
        return
    if sha256(blob) != blob.name:
        for damaged in (path, blob):
            damaged.unlink(missing_ok=True)
        _mark(blob).unlink(missing_ok=True)
        raise ConfinerError(
            f"{path} was damaged: its content does not have the hash {blob.name[:12]}...; it has been removed",
            "run the same command again to fetch it once more",
        )
    with suppress(OSError):  # without a place for marks it is hashed again next time
        _mark(blob).parent.mkdir(parents=True, exist_ok=True)
        _mark(blob).touch()


def _mark(blob: Path) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "confiner" / "verified" / blob.name

"""Files of the hub's cache held against their hashes, each once: the hub's client looks at sizes.

The cache names a file by its hash: large ones by their SHA-256, small ones as git does, by the
SHA-1 of length and content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from confiner_cli.errors import ConfinerError
from confiner_cli.files import own_cache, sha256


def _git_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


HASHES = (
    (re.compile(r"[0-9a-f]{64}").fullmatch, sha256),
    (re.compile(r"[0-9a-f]{40}").fullmatch, _git_hash),
)
"""What each kind of hash looks like, and how it is made of a file."""
NO_PLACE = (OSError, RuntimeError)
"""Where there is no place for marks: a home that may not be entered, or (RuntimeError) none."""


def verify_files(files: Iterable[Path]) -> None:
    """Hash the files whose names in the cache are hashes, unless that was done before.

    Raises:
        ConfinerError: a file is not what it should be; it is removed from the cache.
    """
    for path in files:
        if not _is_marked(path.resolve()):
            verify_file(path)


def verify_file(path: Path, expected: str = "") -> bool:
    """Hash one file and remember that it is right. Raises as `verify_files`.

    Args:
        path: in the cache, where it may be a link.
        expected: its hash, where the cache does not name the file by it: it does so only where
            it can make links.

    Returns:
        False where no hash of it is known.
    """
    blob = path.resolve()
    expected = expected or blob.name
    hashed = _hash_like(expected)
    if hashed is None:
        return False
    if hashed(blob) != expected:
        _remove(path, blob, f"its content does not have the hash {expected[:12]}...")
    with suppress(*NO_PLACE):  # it is hashed again next time
        mark = _mark(blob)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    return True


def _is_marked(blob: Path) -> bool:
    with suppress(*NO_PLACE):
        return _mark(blob).exists()
    return False


def _remove(path: Path, blob: Path, reason: str) -> NoReturn:
    """Remove a damaged file from the cache and say so; or that it cannot be."""
    try:
        for damaged in (path, blob):
            damaged.unlink(missing_ok=True)
    except OSError as error:
        raise ConfinerError(
            f"{path} is damaged: {reason}, and it cannot be removed: {error.strerror}",
            f"have whoever owns it remove {blob}, or set HF_HOME to a folder of your own",
        ) from error
    raise ConfinerError(
        f"{path} was damaged: {reason}; it has been removed",
        "run the same command again to fetch it once more",
    )


def _hash_like(expected: str) -> Callable[[Path], str] | None:
    for matches, hashed in HASHES:
        if matches(expected):
            return hashed
    return None


def _mark(blob: Path) -> Path:
    """What says that this very file, unchanged since, was hashed."""
    facts = blob.stat()
    name = hashlib.sha256(f"{blob}:{facts.st_size}:{facts.st_mtime_ns}".encode()).hexdigest()
    return own_cache("verified") / name

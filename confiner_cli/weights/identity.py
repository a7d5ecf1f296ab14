"""Files known by what is in them: each is hashed once while it does not change, also by others.

What a file's hash was is kept in the person's cache, under its place, size, times and inode.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from confiner_cli import progress
from confiner_cli.files import SETTLED, SHA256, atomic_write, own_cache, sha256

SMALL = 2**20
"""Bytes that are hashed as fast as a note of them is read."""
LARGE = 2**30
"""Bytes from which on hashing takes seconds, and is told."""
NO_PLACE = (OSError, RuntimeError)
"""Where there is no place for notes: a home that cannot be written to, or (RuntimeError) none."""


def content_hash(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    A large file of the hub's cache is named by it and is not read.

    Raises:
        OSError: it cannot be read.
    """
    blob = path.resolve()
    if blob.parent.name == "blobs" and SHA256(blob.name):
        return blob.name
    facts = blob.stat()
    if facts.st_size < SMALL:
        return sha256(blob)
    known = _noted(blob, facts)
    if known:
        return known
    if facts.st_size > LARGE:
        progress.say(f"hashing {blob.name}, {facts.st_size / 1e9:.1f} GB, once")
    digest = sha256(blob)
    if time.time() - facts.st_mtime > SETTLED:
        with suppress(*NO_PLACE):  # it is hashed again next time
            _write_note(blob, facts, digest)
    return digest


def _noted(blob: Path, facts: os.stat_result) -> str | None:
    with suppress(*NO_PLACE):
        known = _note(blob, facts).read_text(encoding="ascii")
        return known if SHA256(known) else None
    return None


def _write_note(blob: Path, facts: os.stat_result, digest: str) -> None:
    note = _note(blob, facts)
    if _note(blob, blob.stat()) != note:
        return  # it has changed meanwhile
    note.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(note) as temporary:
        temporary.write_text(digest, encoding="ascii")


def _note(blob: Path, facts: os.stat_result) -> Path:
    """Where the hash of this very file, unchanged since, is kept."""
    said = (blob, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
    name = hashlib.sha256(repr(said).encode()).hexdigest()
    return own_cache("hashes") / name

"""Which files of a run are finished, with their hashes: no other file counts, nor other bytes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Lock

from confiner_cli.files import sha256, sync


class Journal:
    """`journal.jsonl` in a folder.

    Args:
        folder: holds the journal and the files. A torn last line of the journal, as a kill leaves
            it, is dropped.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._lock = folder / "journal.jsonl", Lock()
        self._hashes: dict[str, str] = {}
        self._seen: set[str] = set()
        whole = self._path.read_bytes() if self._path.exists() else b""
        kept = whole[: whole.rfind(b"\n") + 1]
        if kept != whole:
            os.truncate(self._path, len(kept))
        for line in kept.decode(errors="replace").splitlines():
            self._read(line)

    def add(self, *files: Path) -> None:
        """Write down that files of the folder are finished: all of them or none.

        It is on the disk when this returns, where the disk can say so.
        """
        hashes = {path.name: sha256(path) for path in files}
        with self._lock:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"finished": hashes}) + "\n")
                file.flush()
                sync(file.fileno())
            self._hashes |= hashes
            self._seen |= set(hashes)

    def has(self, path: Path) -> bool:
        """Whether a file is finished, still there, and has its bytes of then (looked at once)."""
        if path.name not in self._hashes or not path.exists():
            return False
        if path.name not in self._seen and sha256(path) == self._hashes[path.name]:
            self._seen.add(path.name)
        return path.name in self._seen

    def _read(self, line: str) -> None:
        try:
            self._hashes |= {
                str(name): str(digest) for name, digest in json.loads(line)["finished"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # a damaged line finishes nothing

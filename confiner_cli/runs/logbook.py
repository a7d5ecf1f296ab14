"""What a run writes down as it goes: run.json, replaced whole; events and log, appended to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any

from confiner_cli import progress
from confiner_cli.files import atomic_write, sha256
from confiner_cli.media.formats import FORMATS
from confiner_cli.runs.folder import RECORD
from confiner_cli.runs.lock import in_use
from confiner_cli.runs.record import RunRecord

ARTEFACTS = (".png", ".safetensors", *(f".{kind}" for kind in FORMATS))


class Logbook:
    """The record of a run folder, and all that is told of the run while it goes on.

    Attributes:
        folder: the run's.
        record: what is known so far; run.json says the same.
    """

    def __init__(self, folder: Path, record: RunRecord) -> None:
        """Take over a folder and what is known of its run."""
        self.folder = folder
        self.record = record
        self._told: set[str] = set()

    @classmethod
    def begin(cls, folder: Path, record: RunRecord, snapshots: Mapping[str, str]) -> Logbook:
        """Claim a folder with a first run.json, and put files into its `.hydra/`.

        Raises:
            ConfinerError: another run has claimed it first.
        """
        if (folder / RECORD).exists():
            raise in_use(folder)
        logbook = cls(folder, record)
        logbook.update(started=now())
        for name, text in snapshots.items():
            (folder / ".hydra").mkdir(exist_ok=True)
            (folder / ".hydra" / name).write_text(text, encoding="utf-8")
        logbook.event("started")
        return logbook

    def update(self, **facts: Any) -> None:
        """Replace run.json, whole, with these facts of the record changed."""
        self.record = replace(self.record, **facts)
        path, content = self.folder / RECORD, self.record.as_json().encode()
        try:
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
        except OSError:
            # A full disk has no room for a second file, but may have for some more in this one.
            if not path.exists() or not _rewritten(path, content):
                raise

    def end(self, status: str, **facts: Any) -> None:
        """The last update and event: how the run ended, and the files that are finished."""
        self.update(status=status, **facts, files=self.files())
        self.event(status)
        if status != "done":
            self.log(status)

    def event(self, event: str, **facts: Any) -> None:
        """Append one line to events.jsonl."""
        self._append("events.jsonl", json.dumps({"time": now(), "event": event, **facts}))

    def log(self, line: str) -> None:
        """Append one line to run.log."""
        self._append("run.log", f"{now()} {line}")

    def files(self) -> dict[str, str]:
        """SHA-256 of the finished artefacts, by name."""
        finished = [
            path
            for path in sorted(self.folder.iterdir())
            if path.suffix in ARTEFACTS and not path.name.startswith(".")
        ]
        return {path.name: sha256(path) for path in finished}

    def _append(self, name: str, line: str) -> None:
        """Append a line, whole or not at all. Where it has no room, the run goes on without it."""
        content = f"{line}\n".encode(errors="backslashreplace")
        try:
            _appended(self.folder / name, content)
        except OSError as error:
            if name not in self._told:
                self._told.add(name)
                progress.say(f"notice: {self.folder / name} is not written on: {error.strerror}")


def _appended(path: Path, content: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            _write_all(file, content)
        except OSError:
            file.truncate(size)
            raise


def _write_all(file: FileIO, rest: bytes) -> None:
    """Write on until all is written: an unbuffered file takes what there is room for."""
    while rest:
        rest = rest[file.write(rest) :]


def _rewritten(path: Path, content: bytes) -> bool:
    """Write a file in its own place; where there is no room for that, it stays as it is."""
    size = path.stat().st_size
    with path.open("r+b", buffering=0) as file:
        file.seek(size)
        rest = content[size:]  # first what needs room: nothing is lost where it does not fit
        try:
            _write_all(file, rest)
        except OSError:
            file.truncate(size)
            return False
        file.seek(0)
        file.write(content[:size])
        file.truncate(len(content))
    return True


def now() -> str:
    """The time, in ISO 8601 with its zone, to the millisecond."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")

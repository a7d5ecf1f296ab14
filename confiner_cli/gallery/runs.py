"""Runs on disk: found below the given paths, read with patience for the damaged and unfinished."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from confiner_cli.runs.folder import RECORD
from confiner_cli.runs.lock import is_locked
from confiner_cli.runs.record import RunRecord, parse_record

LARGEST = 8_000_000
"""Bytes of a record that are read; a real one has some thousands."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        folder: absolute.
        status: `done`, `failed`, `interrupted`, `running`, `unfinished` (it says running, but no
            process on this machine has it) or `damaged`; a record may hold another word.
        record: what run.json says; empty where it is damaged.
        overrides: the words that the run was started with, as Hydra was given them.
        error: why it has no video, where that is known.
    """

    folder: Path
    status: str
    record: RunRecord = field(default_factory=RunRecord)
    overrides: tuple[str, ...] = ()
    error: str = ""


def find_runs(paths: Iterable[Path]) -> list[Run]:
    """All runs in and below the folders, each once, as a person counts them (2 before 10)."""
    seen: set[str] = set()
    folders: list[Path] = []
    for path in paths:
        folders += _run_folders(path, seen)
    return [read(folder) for folder in sorted(folders, key=_counted)]


def _run_folders(root: Path, seen: set[str]) -> Iterator[Path]:
    for folder, names, files in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)  # links may lead back up, or to the same run twice
        if place in seen:
            names.clear()
            continue
        seen.add(place)
        names[:] = [name for name in names if not name.startswith(".")]
        if RECORD in files:
            yield Path(folder)


def _counted(folder: Path) -> list[tuple[bool, int, str]]:
    """A key to sort by: digits count as numbers, wherever they stand."""
    pieces = re.findall(r"([0-9]+)|([^0-9]+)", str(folder))
    return [(bool(digits), int(digits[:20] or 0), digits or text) for digits, text in pieces]


def read(folder: Path) -> Run:
    """The run in a folder, whatever its record is like."""
    try:
        record = parse_record(_text(folder / RECORD))
    except (OSError, ValueError, RecursionError) as error:
        # Without the path: the page may be sent.
        return _damaged(folder, getattr(error, "strerror", None) or error)
    status = record.status
    if status == "running" and not is_locked(folder):
        status = "unfinished"
    return Run(folder, status or "damaged", record, _overrides(folder), record.error)


def _damaged(folder: Path, reason: object) -> Run:
    return Run(folder, "damaged", error=f"{RECORD} cannot be read: {reason}")


def _overrides(folder: Path) -> tuple[str, ...]:
    try:
        text = _text(folder / ".hydra" / "overrides.yaml")
        words = yaml.load(text, Loader=_LOADER)  # noqa: S506, a safe loader
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return ()
    if not isinstance(words, list):
        return ()
    return tuple(word for word in words if isinstance(word, str))


def _text(path: Path) -> str:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        raise ValueError("it is no file")
    if status.st_size > LARGEST:
        raise ValueError(f"it has {status.st_size} bytes")
    return path.read_text(encoding="utf-8")

"""Lines of a CSV file that several processes add to: none is lost, torn or doubled by a kill."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

Key = tuple[str, ...]


class OtherResultsError(Exception):
    """A file that holds results which do not go with the new ones."""


class Lines:
    """A CSV file as lines by their key.

    Args:
        path: made, with its folder, where it is missing; a torn last line is dropped.
        columns: of the file.
        key: those of them that a line is found by.
        made_by: what made the lines, such as a hash of the weights; it is kept beside the file,
            which holds lines of one only.

    Raises:
        OtherResultsError: the file holds lines of something else, or has other columns.
    """

    def __init__(
        self, path: Path, columns: Sequence[str], key: Sequence[str], made_by: str
    ) -> None:
        self.path, self.columns, self.key = path, tuple(columns), tuple(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as file:
            self._check(made_by, new=not _whole(file))
            if not _whole(file):
                _append(file, self._text({name: name for name in self.columns}))
            self.lines: dict[Key, dict[str, str]] = self._parsed(_whole(file))

    def add(self, values: Mapping[str, Any]) -> None:
        """Keep a line: on disk when this returns."""
        line = {name: _said(values[name]) for name in self.columns}
        with self._locked() as file:
            _append(file, self._text(line))
        self.lines[self._key(line)] = line

    def refresh(self) -> None:
        """Read what other processes have added."""
        with self._locked() as file:
            self.lines = self._parsed(_whole(file))

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        """The file, ours alone, without what a killed process has left unfinished."""
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file, also after a kill
            os.truncate(self.path, len(_whole(file)))
            yield file

    def _check(self, made_by: str, new: bool) -> None:
        mark = self.path.with_suffix(".made_by.txt")
        if new:
            mark.write_text(made_by, encoding="utf-8")
        elif not mark.exists() or mark.read_text(encoding="utf-8") != made_by:
            raise OtherResultsError(
                f"{self.path} was made by other weights or settings; choose another folder"
            )

    def _parsed(self, whole: bytes) -> dict[Key, dict[str, str]]:
        reader = csv.DictReader(io.StringIO(whole.decode()))
        if tuple(reader.fieldnames or ()) != self.columns:
            raise OtherResultsError(
                f"{self.path} has other columns; choose another folder or remove it"
            )
        return {self._key(line): line for line in reader}

    def _key(self, line: Mapping[str, str]) -> Key:
        return tuple(line[name] for name in self.key)

    def _text(self, line: Mapping[str, Any]) -> bytes:
        buffer = io.StringIO()
        csv.DictWriter(buffer, self.columns, lineterminator="\n").writerow(line)
        return buffer.getvalue().encode()


def _said(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _whole(file: BinaryIO) -> bytes:
    """All whole lines."""
    file.seek(0)
    content = file.read()
    return content[: content.rfind(b"\n") + 1]


def _append(file: BinaryIO, text: bytes) -> None:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())

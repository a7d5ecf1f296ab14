"""Run folders: made once, uniquely, wherever and however many runs begin at the same instant."""

from __future__ import annotations

import shlex
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from confiner_cli.errors import ConfinerError
from confiner_cli.runs.lock import NAME as LOCK

RECORD = "run.json"
LEFT_BY_A_KILL = (LOCK, f".{Path(RECORD).stem}.")
"""What names begin with that a process may leave which is killed before it has a record."""


def video_name(kind: str) -> str:
    """The finished video's name in a run folder, by its format."""
    return f"video.{kind}"


UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, halves of characters, and ends of lines."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run's folder goes.

    Attributes:
        root: the folder itself where it is `exact`, else the one that it is made in.
        prefix: what its name begins with, which is its own: a folder with it is one to go on with.
            Empty is the time.
        exact: whether a person has named it.
    """

    root: Path
    prefix: str = ""
    exact: bool = False

    @classmethod
    def of(cls, kind: str, chosen: str | None) -> RunFolder:
        """The folder that is chosen, else one in `<kind>/<date>`: `outputs` or `multirun`.

        Raises:
            ConfinerError: see `one_line`.
        """
        if chosen:
            return cls(one_line(Path(chosen).expanduser().absolute()), exact=True)
        root = Path(kind).absolute() / datetime.now().strftime("%Y-%m-%d")
        return cls(one_line(root))

    def create(self, name: str = "", resume: bool = False) -> Path:
        """Make the folder and return its absolute path.

        Args:
            name: what its name ends with, where it is not exact.
            resume: whether the folder may have a run in it, to go on with.

        Raises:
            ConfinerError: an exact folder is not empty, or it cannot be made.
        """
        if resume and not (self.exact or self.prefix):
            raise ConfinerError(
                "resume=true does not know which run to go on with", "name it: output.dir=RUN_DIR"
            )
        try:
            return self._exact(resume) if self.exact else self._named(name, resume)
        except OSError as error:
            raise ConfinerError(
                f"cannot make a run folder in {self.root}: {error.strerror}",
                "set output.dir= to a folder you can write to",
            ) from error

    def _exact(self, resume: bool) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in self.root.iterdir()]
        is_empty = all(name.startswith(LEFT_BY_A_KILL) for name in names)
        has_run = (self.root / RECORD).is_file()
        if is_empty or (resume and has_run):
            return self.root
        cure = "name a new folder"
        if has_run:
            cure += f", or go on with its run: {resume_command(self.root)}"
        raise ConfinerError(f"output.dir={self.root} exists and is not empty", cure)

    def _named(self, name: str, resume: bool) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        prefix = self.prefix or datetime.now().strftime("%H-%M-%S")
        if resume:
            return self.root / f"{prefix}-{name}"
        for attempt in count(1):
            number = "" if attempt == 1 else str(attempt)
            folder = self.root / "-".join(filter(None, (prefix, name, number)))
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
        raise AssertionError("there is always another number")


def one_line(folder: Path) -> Path:
    """The folder, whose path can be told as one line of text: stdout has one path a line.

    Raises:
        ConfinerError: it has line breaks, other control characters or bytes that are no UTF-8.
    """
    for character in str(folder):
        if unicodedata.category(character) in UNPRINTABLE:
            raise ConfinerError(
                f"{str(folder)!r} cannot be a run's folder: {_named(character)} is in its path",
                "set output.dir= to a folder with a path that is one line of text",
            )
    return folder


def _named(character: str) -> str:
    if unicodedata.category(character) == "Cs":
        return "a byte that is no UTF-8"
    return f"the control character U+{ord(character):04X}"


def resume_command(folder: Path) -> str:
    """What to type to go on with a run."""
    return f"confiner resume {shlex.quote(str(folder))}"

"""How a job ended, told by whoever made it to whoever began the sweep: a small file for each job.

A launcher may carry jobs out on other machines, and says nothing until all of them have ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from confiner_cli.files import temporary_beside

FOLDER = ".sweep"


@dataclass(frozen=True)
class Outcome:
    """The end of one job.

    Attributes:
        number: the job's.
        paths: of the finished videos: several of a batch, none where it failed.
        error: its two lines, where it failed.
        objective: what the sweeper asked for.
    """

    number: int
    paths: tuple[str, ...] = ()
    error: str = ""
    objective: float | None = None

    @property
    def is_done(self) -> bool:
        """Whether the job has made its videos."""
        return not self.error

    def write(self, root: Path, attempt: int) -> None:
        """Tell it. Where there is no room for that, whoever began the sweep looks at run.json."""
        with suppress(OSError):
            folder = _folder(root, attempt)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{self.number}.json"
            with temporary_beside(path) as temporary:  # it need not outlive a power cut
                temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
                temporary.replace(path)


def collected(root: Path, attempt: int) -> Iterator[Outcome]:
    """Those that have been told since the last time, by number. Their files are removed."""
    folder = _folder(root, attempt)
    for path in sorted(folder.glob("[0-9]*.json"), key=lambda path: int(path.stem)):
        facts = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        yield Outcome(**{**facts, "paths": tuple(facts["paths"])})


def _folder(root: Path, attempt: int) -> Path:
    return root / FOLDER / str(attempt)

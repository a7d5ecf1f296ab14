"""The folder of a sweep: one process at a time, and what of its jobs is finished there."""

from __future__ import annotations

import shlex
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confiner_cli.errors import ConfinerError
from confiner_cli.runs.folder import RECORD, RunFolder
from confiner_cli.runs.lock import locked
from confiner_cli.runs.provenance import is_whole
from confiner_cli.runs.record import read_run
from confiner_cli.sweeps.outcome import FOLDER
from confiner_cli.sweeps.record import NAME, has_sweep


@contextmanager
def sweep_root(chosen: str | None, resume: bool = False) -> Iterator[Path]:
    """The sweep's folder: the chosen one, or a new one with the time for a name.

    It is this process's in the body. Afterwards it goes if no job has begun in it.

    Args:
        chosen: as `output.dir=` names it.
        resume: whether it may have a sweep in it, to go on with.

    Raises:
        ConfinerError: it is not empty, or another process has it.
    """
    place = RunFolder.of("multirun", chosen)
    new = [folder for folder in (place.root, *place.root.parents) if not folder.exists()]
    root = place.root if place.exact and has_sweep(place.root) else place.create()
    with locked(root):
        if has_sweep(root) and not resume:
            raise ConfinerError(
                f"output.dir={root} exists and is not empty",
                f"name a new folder, or go on with its sweep: {resume_sweep_command(root)}",
            )
        try:
            yield root
        finally:
            _tidy(root)
    if not any(root.glob(f"*/{RECORD}")):
        (root / NAME).unlink(missing_ok=True)
        with suppress(OSError):
            for folder in new if place.exact else [root, *new]:
                folder.rmdir()


def _tidy(root: Path) -> None:
    """Remove what was told of jobs; locks stay that workers hold which have outlived the sweep."""
    for attempt in (root / FOLDER).glob("*/"):
        shutil.rmtree(attempt, ignore_errors=True)
    with suppress(OSError):
        (root / FOLDER).rmdir()


def resume_sweep_command(root: Path) -> str:
    """What to type to go on with a sweep."""
    return f"confiner resume {shlex.quote(str(root))}"


def finished(root: Path) -> dict[int, list[Path]]:
    """The videos of each job, by number, all of whose runs are done and untouched."""
    folders: defaultdict[int, list[Path]] = defaultdict(list)
    for folder in root.iterdir():
        number, dash, _ = folder.name.partition("-")
        if dash and number.isdecimal() and (folder / RECORD).is_file():
            folders[int(number)].append(folder)
    return {number: videos for number, runs in folders.items() if (videos := _videos(sorted(runs)))}


def _videos(runs: list[Path]) -> list[Path]:
    """The videos of runs, all of them or none."""
    records = {run: read_run(run) for run in runs}
    if not all(is_whole(run, record) for run, record in records.items()):
        return []
    return [run / record.video for run, record in records.items()]

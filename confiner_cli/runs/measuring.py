"""The finished video of a run measured, and written down in its record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from confiner_cli import progress
from confiner_cli.errors import ConfinerError
from confiner_cli.measures.table import explained
from confiner_cli.measures.video import measure_video
from confiner_cli.runs.folder import resume_command
from confiner_cli.runs.lock import locked
from confiner_cli.runs.logbook import Logbook
from confiner_cli.runs.open_run import OpenRun
from confiner_cli.runs.record import RunRecord, read_run

STAGE = "measure"


def measure_run(run: OpenRun) -> None:
    """Measure the video of a run that is about to be done; its seconds are those of a stage.

    Measures that cannot be had are told, and are no failure: the video is whole.
    """
    run.meter.stage, started = STAGE, monotonic()
    record = run.logbook.record
    measured = measure_video(run.folder / record.video)
    notices = tuple(explained(measured.lacking))
    run.logbook.update(measures=measured.values, notices=(*record.notices, *notices))
    for notice in notices:
        progress.say(f"notice: {notice}")
        run.logbook.log(notice)
    run.meter.add(STAGE, monotonic() - started)


def measured_later(folder: Path, name: str) -> Mapping[str, float]:
    """The measures of a run that is done, with this one among them.

    If run.json has it not, the video is measured, and all of its measures are written there.

    Raises:
        ConfinerError: there is no such run; it cannot be measured; another process is at it.
    """
    known = read_run(folder).measures
    if name in known:
        return known
    with locked(folder):
        record = read_run(folder)
        measured = measure_video(finished_video(folder, record))
        Logbook(folder, record).update(measures={**record.measures, **measured.values})
    if name in measured.lacking:
        raise ConfinerError(f"the video in {folder} has no {name}", measured.lacking[name])
    return measured.values


def finished_video(folder: Path, record: RunRecord) -> Path:
    """The finished video in a run folder.

    Raises:
        ConfinerError: its run is not done.
    """
    if record.status != "done":
        raise ConfinerError(
            f"{folder} has no finished video: its run is {record.status or 'not begun'}",
            resume_command(folder),
        )
    return folder / record.video

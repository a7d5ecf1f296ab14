"""The running jobs of a sweep on a terminal, from what they write down of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from confiner_cli import progress
from confiner_cli.commands.sweep_watch import told
from confiner_cli.errors import ConfinerError
from confiner_cli.runs.folder import RECORD
from confiner_cli.runs.record import read_run

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

MOST_ROWS = 16
TAIL = 4096
"""Bytes at the end of events.jsonl, which have the last stage and step."""
SECONDS_BETWEEN = 1.0


class LiveTable:
    """A table of the running jobs, under all that is told.

    Args:
        root: the sweep's folder.
        total: how many jobs there are; None where nobody knows yet.
    """

    def __init__(self, root: Path, total: int | None) -> None:
        self._root, self._total = root, total
        self._started, self._shown = monotonic(), -SECONDS_BETWEEN
        self._ended: set[str] = set()
        self._live = _started()

    def show(self, done: int, failed: int, is_last: bool) -> None:
        """See `sweep_watch.Display`."""
        now = monotonic()
        if now - self._shown < SECONDS_BETWEEN or is_last:
            return
        self._shown = now
        self._live.update(self._table(done, failed), refresh=True)

    def beside(self, call: Callable[[], None]) -> None:
        """Take the table away while something is written that may go to the terminal."""
        self._live.stop()
        try:
            call()
        finally:
            # A new one: the old would go back over what has been written.
            self._live = _started()

    def close(self) -> None:
        """Take the table away."""
        self._live.stop()

    def _table(self, done: int, failed: int) -> RenderableType:
        from rich import box
        from rich.table import Table

        seconds = monotonic() - self._started
        title = f"{told(done, failed, self._total)}, {seconds:.0f} s"
        table = Table("job", "stage", "step", "prompt", box=box.SIMPLE, caption=title)
        for row, _ in zip(self._running(), range(MOST_ROWS), strict=False):
            table.add_row(*row)
        return table

    def _running(self) -> Iterator[tuple[str, str, str, str]]:
        for name in sorted((path.name for path in self._root.iterdir()), key=_in_order):
            folder = self._root / name
            if name in self._ended or not (folder / RECORD).is_file():
                continue
            try:
                record = read_run(folder)
            except ConfinerError:
                continue
            if record.status != "running":
                self._ended.add(name)
                continue
            stage, step = _step(folder)
            yield name.partition("-")[0], stage, step, " ".join(record.prompt.split())


def _started() -> Live:
    from rich.live import Live

    live = Live(
        console=progress.console(), transient=True, redirect_stdout=False, auto_refresh=False
    )
    live.start()
    return live


def _in_order(name: str) -> tuple[int, str]:
    number = name.partition("-")[0]
    return (int(number) if number.isdecimal() else -1), name


def _step(folder: Path) -> tuple[str, str]:
    """What a run is at: the stage, and `3 of 8` of its evaluations."""
    stage, total, number = "", 0, 0
    for event in _last_events(folder / "events.jsonl"):
        if event.get("event") == "stage":
            stage, total, number = str(event.get("stage")), int(event.get("evaluations", 0)), 0
        elif event.get("event") == "visit":
            stage, number = str(event.get("stage")), int(event.get("number", 0))
    if not stage:
        return "loading", ""
    return stage, f"{number} of {total}" if total else str(number)


def _last_events(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            lines = file.read().split(b"\n")[1:]
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event

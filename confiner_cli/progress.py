"""What a person sees while waiting, on stderr: a bar on a terminal, elsewhere a line at times."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from time import monotonic

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

SECONDS_BETWEEN_LINES = 30.0
SECONDS_BETWEEN_AMOUNTS = 10.0
UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


@contextmanager
def evaluations(total: float) -> Iterator[Callable[[str], None]]:
    """Show how many of `total` evaluations, which may be `math.inf`, are done.

    What it yields is to be told the stage after each.
    """
    show = _bar if sys.stderr.isatty() else _lines
    with show(total) as tell:
        yield tell


def transfer(counts: Iterable[int], total: int) -> Iterator[int]:
    """Pass on counts of bytes that come and show how many of `total` there are."""
    show = _bytes_bar if sys.stderr.isatty() else _bytes_lines
    return show(counts, total)


def say(line: str) -> None:
    """One line for the person at the terminal."""
    print(line, file=sys.stderr, flush=True)


def amount(count: int) -> str:
    """Bytes in a unit in which they are not 0.00: `3.64 GB`, `1.2 MB`."""
    for name, unit in UNITS:
        if count >= unit:
            return f"{count / unit:.{2 if name == 'GB' else 1}f} {name}"
    return f"{count} bytes"


@contextmanager
def _bar(total: float) -> Iterator[Callable[[str], None]]:
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=total if isfinite(total) else None)

        def tell(stage: str) -> None:
            bars.update(task, advance=1, description=stage)

        yield tell


@contextmanager
def _lines(total: float) -> Iterator[Callable[[str], None]]:
    """A line at the end, after every tenth, and after half a minute without one."""
    started = said = monotonic()
    done = tenths = 0

    def tell(stage: str) -> None:
        nonlocal said, done, tenths
        done += 1
        now = monotonic()
        reached = int(done * 10 / max(done, total))  # what was damaged is made beyond the total
        late = now - said > SECONDS_BETWEEN_LINES
        another_tenth = reached > tenths and now - said > 1
        if done == total or late or another_tenth:
            say(_line(stage, done, total, now - started))
            said, tenths = now, reached

    yield tell


def _line(stage: str, done: int, total: float, seconds: float) -> str:
    if not isfinite(total):
        return f"{stage}: {done} evaluations, {seconds:.1f} s"
    line = f"{stage}: {done} of {total:.0f} evaluations, {seconds:.1f} s"
    left = seconds / done * (total - done)
    return f"{line}, {left:.0f} s left" if left else line


def _bytes_bar(counts: Iterable[int], total: int) -> Iterator[int]:
    columns = (
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=total)
        for count in counts:
            bars.advance(task, count)
            yield count


def _bytes_lines(counts: Iterable[int], total: int) -> Iterator[int]:
    """A line at most every ten seconds, when something comes."""
    said, done = monotonic(), 0
    for count in counts:
        done += count
        if monotonic() - said > SECONDS_BETWEEN_AMOUNTS:
            said = monotonic()
            say(f"{amount(done)} of {amount(total)}")
        yield count

"""What a person sees while waiting: one bar a stage on a terminal, a plain line now and then elsewhere. On stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import TypeVar

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

Item = TypeVar("Item")
SECONDS_BETWEEN_LINES = 30.0


def watch(stage: str, steps: Iterable[Item], total: int) -> Iterator[Item]:
    """Pass the steps on and show how far they are."""
    return _bar(stage, steps, total) if sys.stderr.isatty() else _lines(stage, steps, total)


def transfer(counts: Iterable[int], total: int) -> Iterator[int]:
    """Pass on counts of bytes that come and show how many of `total` there are."""
    return _bytes_bar(counts, total) if sys.stderr.isatty() else _bytes_lines(counts, total)


def say(line: str) -> None:
    """One line for the person at the terminal."""
    print(line, file=sys.stderr, flush=True)


def _bar(stage: str, steps: Iterable[Item], total: int) -> Iterator[Item]:
    columns = (
        TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(stage, total=total)
        for step in steps:
            bars.advance(task)
            yield step


def _lines(stage: str, steps: Iterable[Item], total: int) -> Iterator[Item]:
    started = said = monotonic()
    tenths = 0
    for done, step in enumerate(steps, start=1):
        now = monotonic()
        if done == total or now - said > SECONDS_BETWEEN_LINES or (done * 10 // total > tenths and now - said > 1):
            left = (now - started) / done * (total - done)
            say(f"{stage} {done}/{total}, {now - started:.1f} s" + (f", {left:.0f} s left" if done < total else ""))
            said, tenths = now, done * 10 // total
        yield step


def _bytes_bar(counts: Iterable[int], total: int) -> Iterator[int]:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=total)
        for count in counts:
            bars.advance(task, count)
            yield count


def _bytes_lines(counts: Iterable[int], total: int) -> Iterator[int]:
    said, done = monotonic(), 0
    for count in counts:
        done += count
        if monotonic() - said > SECONDS_BETWEEN_LINES:
            said = monotonic()
            say(f"{done / 1e9:.2f} of {total / 1e9:.2f} GB")
        yield count

"""What a person sees while waiting: one bar a stage on a terminal, a plain line now and then elsewhere. On stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import inf, isfinite
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


@contextmanager
def evaluations(total: float) -> Iterator[Callable[[str], None]]:
    """Show how many of `total` evaluations are done: to be told the stage after each. The total may be `math.inf`."""
    with (_bar if sys.stderr.isatty() else _lines)(total) as shown:
        yield shown


def transfer(counts: Iterable[int], total: int) -> Iterator[int]:
    """Pass on counts of bytes that come and show how many of `total` there are."""
    return _bytes_bar(counts, total) if sys.stderr.isatty() else _bytes_lines(counts, total)


def say(line: str) -> None:
    """One line for the person at the terminal."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _bar(total: float) -> Iterator[Callable[[str], None]]:
    columns = (
        TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=total if isfinite(total) else None)

        def shown(stage: str) -> None:
            bars.update(task, advance=1, description=stage)

        yield shown


@contextmanager
def _lines(total: float) -> Iterator[Callable[[str], None]]:
    started = said = monotonic()
    done = tenths = 0

    def shown(stage: str) -> None:
        nonlocal said, done, tenths
        done, now = done + 1, monotonic()
        reached = int(done * 10 / total)
        if (
            done == total
            or now - said > SECONDS_BETWEEN_LINES
            or (reached > tenths and now - said > 1)
        ):
            left = (
                f", {(now - started) / done * (total - done):.0f} s left"
                if done < total < inf
                else ""
            )
            of = f" of {total:.0f}" if isfinite(total) else ""
            say(f"{stage}: {done}{of} evaluations, {now - started:.1f} s{left}")
            said, tenths = now, reached

    yield shown


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
    said, done = monotonic(), 0
    for count in counts:
        done += count
        if monotonic() - said > SECONDS_BETWEEN_LINES:
            said = monotonic()
            say(f"{done / 1e9:.2f} of {total / 1e9:.2f} GB")
        yield count

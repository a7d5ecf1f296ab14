"""What a person sees while waiting, on stderr: a bar on a terminal, elsewhere a line at times.

None of it ends the work: what stderr does not take is given up.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from math import isfinite
from time import monotonic
from typing import IO, TYPE_CHECKING, TextIO, TypeVar, cast

if TYPE_CHECKING:  # rich takes a while to import, and `confiner --help` shows nothing with it
    from rich.console import Console

SECONDS_BETWEEN_LINES = 30.0
SECONDS_BETWEEN_AMOUNTS = 10.0
QUIET: ContextVar[bool] = ContextVar("QUIET", default=False)
"""Whether somebody else shows how far the work is."""
UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
Item = TypeVar("Item")


@contextmanager
def evaluations(total: float) -> Iterator[Callable[[str], None]]:
    """Show how many of `total` evaluations, which may be `math.inf`, are done.

    What it yields is to be told the stage after each.
    """
    if QUIET.get():
        yield lambda stage: None
        return
    show = _bar if is_terminal() else _lines
    with show(total) as tell:
        yield tell


def mention(line: str) -> None:
    """One line of what is known from elsewhere where somebody else shows how far the work is."""
    if not QUIET.get():
        say(line)


@contextmanager
def quiet(is_quiet: bool) -> Iterator[None]:
    """In the body nothing is shown of how far the work is, where it is so."""
    before = QUIET.set(is_quiet)
    try:
        yield
    finally:
        QUIET.reset(before)


def transfer(counts: Iterable[int], total: int) -> Iterator[int]:
    """Pass on counts of bytes that come and show how many of `total` there are."""
    show = _bytes_bar if is_terminal() else _bytes_lines
    return show(counts, total)


def counted(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Pass items on; where that takes long, a line at times says how many there have been."""
    said = monotonic()
    for done, item in enumerate(items):
        if monotonic() - said > SECONDS_BETWEEN_LINES:
            said = monotonic()
            say(f"{what}: {done} of {len(items)}")
        yield item


def say(line: str) -> None:
    """One line for the person at the terminal."""
    print(line, file=_Forgiving(sys.stderr), flush=True)


@functools.cache
def say_once(line: str) -> None:
    """The same, once in a process: what is true of a disk is true of every file on it."""
    say(line)


def console(width: int | None = None) -> Console:
    """What shows tables and bars on stderr; the text in them is no markup."""
    from rich.console import Console

    file = cast("IO[str]", _Forgiving(sys.stderr))
    return Console(file=file, markup=False, highlight=False, width=width)


def is_terminal() -> bool:
    """Whether stderr is one."""
    return _Forgiving(sys.stderr).isatty()


class _Forgiving:
    """A stream that gives up what the one behind it does not take: gone, full, closed or None."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # ValueError: it is closed
            self._write(text)
        return len(text)

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            escaped = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
            self._stream.write(escaped)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()


def amount(count: int) -> str:
    """Bytes in a unit in which they are not 0.00: `3.64 GB`, `1.2 MB`."""
    for name, unit in UNITS:
        if count >= unit:
            return f"{count / unit:.{2 if name == 'GB' else 1}f} {name}"
    return f"{count} bytes"


@contextmanager
def _bar(total: float) -> Iterator[Callable[[str], None]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console()) as bars:
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
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console()) as bars:
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

"""What is told of a sweep while it goes on, wherever its jobs are made.

The path of each finished video on stdout, as it is finished; on stderr failures, and how far it is:
a table of the running jobs on a terminal, elsewhere a line at times.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from confiner_cli import progress
from confiner_cli.commands.results import hand_over
from confiner_cli.errors import ConfinerError
from confiner_cli.sweeps.outcome import Outcome, collected

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_BETWEEN_LINES = 30.0


class Display(Protocol):
    """How far a sweep is, as a person sees it."""

    def show(self, done: int, failed: int, is_last: bool) -> None:
        """Show how many jobs have ended well, and how many not."""

    def beside(self, call: Callable[[], None]) -> None:
        """Call what writes on the terminal, too."""

    def close(self) -> None:
        """Show nothing any more."""


class Lines:
    """A line at the end, after every tenth, and after half a minute without one.

    Args:
        total: how many jobs there are; None where nobody knows yet.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._started = self._said = monotonic()
        self._ended = 0

    def show(self, done: int, failed: int, is_last: bool) -> None:
        """See `Display`."""
        ended, now = done + failed, monotonic()
        tenth = max(1, (self._total or 10) // 10)
        late = now - self._said > SECONDS_BETWEEN_LINES
        another_tenth = ended - self._ended >= tenth and now - self._said > 1
        if is_last or late or another_tenth:
            progress.say(f"{told(done, failed, self._total)}, {now - self._started:.1f} s")
            self._said, self._ended = now, ended

    def beside(self, call: Callable[[], None]) -> None:
        """See `Display`."""
        call()

    def close(self) -> None:
        """See `Display`."""


def told(done: int, failed: int, total: int | None) -> str:
    """How far a sweep is: `3 of 12 jobs done, 1 failed`."""
    jobs = f"{done} of {total} jobs" if total is not None else f"{done} job{'s' * (done != 1)}"
    return f"{jobs} done, {failed} failed" if failed else f"{jobs} done"


class SweepWatch:
    """Tells of a sweep from a thread of its own, in the body of `with`.

    Args:
        root: the sweep's folder.
        attempt: which one is followed.
        display: how far it is.

    Attributes:
        done, failed: the numbers of jobs that have ended in this attempt.
        unheard: why stdout did not take a path, where it did not.
    """

    def __init__(self, root: Path, attempt: int, display: Display) -> None:
        self.done: set[int] = set()
        self.failed: set[int] = set()
        self.unheard: ConfinerError | None = None
        self._root, self._attempt, self._display = root, attempt, display
        self._over = Event()
        self._thread = Thread(target=self._follow, name="sweep", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._look(is_last=True)
        self._display.close()

    def hand_over(self, *paths: Path) -> None:
        """Print the paths of videos. What stdout does not take is told once, and kept."""
        try:
            self._display.beside(lambda: hand_over(*paths))
        except ConfinerError as error:
            if self.unheard is None:
                progress.say(error.lines())
            self.unheard = error

    def _follow(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            self._look(is_last=False)

    def _look(self, is_last: bool) -> None:
        for outcome in collected(self._root, self._attempt):
            self._tell(outcome)
        self._display.show(len(self.done), len(self.failed), is_last)

    def _tell(self, outcome: Outcome) -> None:
        if outcome.is_done:
            self.done.add(outcome.number)
            self.hand_over(*map(Path, outcome.paths))
        else:
            self.failed.add(outcome.number)
            progress.say(f"job {outcome.number}: {outcome.error}")

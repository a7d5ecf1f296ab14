"""Seconds of one thread, split by what it is doing: the innermost activity has them.

What other threads do meanwhile costs nothing but the waiting for it, which is an activity, too.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from time import monotonic
from typing import Any

REST = "unexplained"
NETWORK = "network: "
"""What the activities of networks begin with; their roles come after it."""


@dataclass
class Split:
    """The seconds of the thread that makes it, from then on.

    Attributes:
        seconds: by activity; `REST` is what belongs to none.
        calls: by activity, how often it was begun.
        clock: in seconds.
    """

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: Counter[str] = field(default_factory=Counter)
    clock: Callable[[], float] = monotonic

    def __post_init__(self) -> None:
        self._thread, self._stack, self._since = get_ident(), [REST], self.clock()

    @property
    def total(self) -> float:
        """Seconds of everything."""
        return sum(self.seconds.values())

    @property
    def networks(self) -> float:
        """Seconds of all networks."""
        return sum(value for name, value in self.seconds.items() if name.startswith(NETWORK))

    @property
    def activity(self) -> str:
        """What is being done."""
        return self._stack[-1]

    @contextmanager
    def doing(self, activity: str) -> Iterator[None]:
        """In the body this thread does something. Other threads are not looked at."""
        if get_ident() != self._thread:
            yield
            return
        self.mark()
        self.calls[activity] += 1
        self._stack.append(activity)
        try:
            yield
        finally:
            self.mark()
            self._stack.pop()

    def mark(self) -> None:
        """Count what has passed since the last change."""
        now = self.clock()
        self.seconds[self.activity] += now - self._since
        self._since = now

    def of(self, activity: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted as an activity."""

        @functools.wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            with self.doing(activity):
                return function(*arguments, **options)

        return counted

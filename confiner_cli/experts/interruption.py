"""Ctrl-C, or a notebook's stop button, in the middle of foreign code that may make an error of it.

torch calls a file damaged whose reading was interrupted; Python drops what a destructor raises.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """An interruption of the body leaves it as KeyboardInterrupt, and in no other way.

    Raises:
        KeyboardInterrupt: the body raised it, turned it into another error, or went on.
    """
    with _noted() as signals:
        try:
            yield
        except Exception as error:
            if signals or _came_of_interruption(error):
                raise KeyboardInterrupt from error
            raise
        if signals:
            raise KeyboardInterrupt


@contextmanager
def _noted() -> Iterator[list[int]]:
    """Inside, SIGINT does what it did and is put into this list. Only the main thread gets it."""
    signals: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or not callable(before):
        yield signals
        return

    def note(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, before)


def _came_of_interruption(error: BaseException | None) -> bool:
    """Whether an error was raised because of a KeyboardInterrupt, or while it was handled."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None

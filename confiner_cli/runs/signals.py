"""Ctrl-C and SIGTERM as exceptions, once; a second one leaves at once.

What is finished is safe on disk by then.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from confiner_cli.errors import Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_asked: list[type[BaseException]] = []
"""What the process was asked to end by, once it was. Signal handlers are the process's, too."""


@contextmanager
def stoppable() -> Iterator[None]:
    """In the body the first signal raises KeyboardInterrupt or Terminated, a second ends all.

    Signals that the process was started to ignore stay ignored. They are the main thread's: in
    another one the body is left as it is.
    """
    if not _in_main_thread():
        yield
        return
    _asked.clear()

    def stop(number: int, frame: FrameType | None) -> None:
        if _asked:
            os._exit(128 + number)
        _asked.append(KeyboardInterrupt if number == signal.SIGINT else Terminated)
        raise _asked[0]

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        with unmasked():
            yield
    finally:
        if not _asked:  # else the process is about to end, and a late signal must not change how
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def unmasked() -> Iterator[None]:
    """Raise the first signal's exception instead of an error of the body that comes after it.

    Foreign code that is met in the middle may turn one into the other: torch calls a file of
    weights damaged then.
    """
    try:
        yield
    except Exception as error:
        if _asked and _in_main_thread():
            raise _asked[0] from error
        raise


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()

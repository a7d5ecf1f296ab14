"""Ctrl-C and SIGTERM as exceptions, once; a second one leaves at once: what is finished is safe on disk by then."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from confiner_cli.errors import Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[None]:
    """In the body the first of these signals raises KeyboardInterrupt or Terminated; the second ends the process.

    Signals that the process was started to ignore stay ignored.
    """
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            os._exit(128 + number)
        stopped = True
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        if not stopped:  # else the process is about to end, and a late signal must not change how
            for number, handler in before.items():
                signal.signal(number, handler)

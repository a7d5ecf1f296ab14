"""The most memory that this process has held which the system cannot take back.

Pages of mapped files, such as weights that are computed with as they are stored, are dropped when
others need room; they are not counted. Linux keeps no peak of the rest, so it is looked at again
and again.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

INTERVAL = 0.05
"""Seconds between two looks."""
STATUS = Path("/proc/self/status")
HELD = ("RssAnon", "RssShmem", "VmSwap")
"""What cannot be dropped, by Linux' names."""


class MemoryPeak:
    """The most that was seen so far.

    Attributes:
        seen: bytes.
    """

    def __init__(self) -> None:
        self.seen = 0

    def value(self) -> int:
        """Bytes, this moment included."""
        self.seen = max(self.seen, held_bytes())
        return self.seen

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look twenty times a second while the body runs."""
        over = Event()

        def look() -> None:
            while not over.wait(INTERVAL):
                self.value()

        thread = Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def held_bytes(status: Path = STATUS) -> int:
    """What this process holds now; where there is no /proc, the most that it ever held."""
    try:
        lines = status.read_text(encoding="ascii").splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    return sum(int(facts[name].split()[0]) * 1024 for name in HELD if name in facts)

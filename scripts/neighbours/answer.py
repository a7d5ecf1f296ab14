"""What a run took, as a worker tells it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What a run took.

    Attributes:
        seconds: the whole of it, as run.json has it.
        threads: how many computed.
        cpu: seconds of CPUs, user's and system's, of this process without its children.
        held: bytes that the process held before, its networks included.
        peak: the most that it held meanwhile.
    """

    seconds: float
    threads: int
    cpu: float
    held: int
    peak: int

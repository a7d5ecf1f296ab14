"""The frames of a task on their way to an encoder, which takes them as they are decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Protocol, TypeAlias

from torch import Tensor

from confiner_cli.runs.tasks import Task


class Part(Protocol):
    """A few frames, uint8 `(height, width, 3)`, on the CPU.

    A GPU may yet have to decode them: whoever iterates over them waits for it.
    """

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Tensor]: ...


Piece: TypeAlias = Task | Part
"""What an encoder is handed: a task, then all of its frames, a few at a time."""


@dataclass(frozen=True)
class Beginning:
    """The first `count` frames of a part, which nobody waits for until somebody iterates."""

    part: Part
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Tensor]:
        return islice(self.part, self.count)


def first_frames(parts: Iterable[Part], count: int) -> Iterator[Part]:
    """The first `count` frames of several parts, as they come."""
    for part in parts:
        if count < len(part):
            part = Beginning(part, count)
        yield part
        count -= len(part)
        if not count:
            return


class CutShortError(Exception):
    """A video without an end was stopped while frames of a task were on their way."""


class Arriving:
    """The next frames of a stream, all of them or an error.

    Attributes:
        waited: seconds that have passed until they were there.
    """

    def __init__(self, pieces: Iterator[Piece], count: int) -> None:
        """Take over pieces with `count` frames."""
        self.waited = 0.0
        self._pieces = pieces
        self._count = count

    def __iter__(self) -> Iterator[Tensor]:
        """The frames, as they come.

        Raises:
            CutShortError: the stream ends too early.
        """
        left = self._count
        while left > 0:
            frames = self._next()
            left -= len(frames)
            yield from frames

    def _next(self) -> list[Tensor]:
        """The frames of the next piece, which are waited for."""
        started = monotonic()
        piece = next(self._pieces, None)
        if piece is None or isinstance(piece, Task):
            raise CutShortError
        frames = list(piece)
        self.waited += monotonic() - started
        return frames

"""The frames of a task on their way to an encoder, which takes them as they are decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import monotonic
from typing import TypeAlias

from torch import Tensor

from confiner_cli.runs.tasks import Task

Part: TypeAlias = Iterable[Tensor]
"""A few frames, uint8 `(height, width, 3)`, on the CPU. A GPU may yet have to decode them: whoever
iterates over them waits for it."""
Piece: TypeAlias = Task | Part
"""What an encoder is handed: a task, then all of its frames, a few at a time."""


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

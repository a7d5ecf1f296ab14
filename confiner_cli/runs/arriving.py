"""The frames of a task on their way to an encoder, which takes them as they are decoded."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import TypeAlias

from torch import Tensor

from confiner_cli.runs.tasks import Task

Piece: TypeAlias = Task | Tensor
"""What an encoder is handed: a task, then each of its frames, uint8 `(height, width, 3)`."""


class CutShortError(Exception):
    """A video without an end was stopped while frames of a task were on their way."""


class Arriving:
    """The next frames of a stream, all of them or an error.

    Attributes:
        waited: seconds that have passed until they were there.
    """

    def __init__(self, pieces: Iterator[Piece], count: int) -> None:
        """Take over the next `count` pieces."""
        self.waited = 0.0
        self._pieces = pieces
        self._count = count

    def __iter__(self) -> Iterator[Tensor]:
        """The frames, as they come.

        Raises:
            CutShortError: the stream ends too early.
        """
        for _ in range(self._count):
            started = monotonic()
            piece = next(self._pieces, None)
            self.waited += monotonic() - started
            if not isinstance(piece, Tensor):
                raise CutShortError
            yield piece

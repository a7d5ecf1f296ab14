"""A person's own video in the place of the structures, read span after span."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from confiner_cli.media.source_video import SourceVideo, read_frames
from confiner_cli.method.long.timeline import Span


@dataclass
class SourceFrames:
    """Frames of any span of a video; spans that overlap or follow each other are read in one go.

    Attributes:
        video: what `probe` found.
        size: `(height, width)` that its frames are scaled and cropped to.
    """

    video: SourceVideo
    size: tuple[int, int]
    _reader: Iterator[Tensor] | None = field(default=None, repr=False)
    _held: list[Tensor] = field(default_factory=list, repr=False)
    _start: int = field(default=0, repr=False)

    def __call__(self, span: Span) -> Tensor:
        """The frames, `(frame, height, width, 3)`, uint8.

        Beyond the video's end its last frame stands still.

        Raises:
            ConfinerError: the video cannot be read so far.
        """
        if self._reader is None or not self._start <= span.start <= self._start + len(self._held):
            self._reader = read_frames(self.video, self.size, span.start)
            self._held, self._start = [], span.start
        missing = span.stop - self._start - len(self._held)
        self._held += islice(self._reader, max(0, missing))
        own = self._held[span.start - self._start : span.stop - self._start]
        self._let_go(span)
        return torch.stack(own + own[-1:] * (len(span) - len(own)))

    def _let_go(self, span: Span) -> None:
        """Keep as much before the span as is in it: the next one may begin in there."""
        gone = max(0, span.start - len(span) - self._start)
        self._held, self._start = self._held[gone:], self._start + gone

"""A video in the place of the structures: cut into segments and encoded, as the control stage's would be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from confiner_cli.experts.vae import Encoder
from confiner_cli.media.source_video import SourceVideo, read_frames
from confiner_cli.method.long.timeline import Span


@dataclass
class GivenStructure:
    """Latents of any span of a video; spans that follow each other are read in one go.

    Attributes:
        source: the video.
        size: `(height, width)` that its frames are scaled and cropped to.
        encoder: makes latents of them.
    """

    source: SourceVideo
    size: tuple[int, int]
    encoder: Encoder
    _reader: Iterator[Tensor] | None = field(default=None, repr=False)
    _next: int = field(default=0, repr=False)

    def __call__(self, span: Span) -> Tensor:
        """The latents, `(1, channel, frame, height, width)`; beyond the video's end its last frame stands still.

        Raises:
            ConfinerError: the video cannot be read so far.
        """
        if self._reader is None or self._next != span.start:
            self._reader = read_frames(self.source, self.size, span.start)
        self._next = span.stop
        frames = list(islice(self._reader, len(span)))
        frames += frames[-1:] * (len(span) - len(frames))
        return self.encoder(torch.stack(frames))

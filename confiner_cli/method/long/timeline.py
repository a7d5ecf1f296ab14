"""Where structures and refinement windows begin and end. Nothing else decides this."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count

from confiner_cli.method.latent_space import LatentSpace

PICTURES = LatentSpace()
"""Where each frame is a latent, so that structures and windows may have any length."""


@dataclass(frozen=True)
class Span:
    """Frames `start` to `stop` (not included) of the video."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def frames(self) -> range:
        """The frames' numbers."""
        return range(self.start, self.stop)


@dataclass(frozen=True)
class Timeline:
    """A video made of structures that are refined in windows.

    A video that fits one structure has one structure of its own length and one window, all of it.
    From two structures on every structure is whole, and windows are cut in the middle of each
    (staggered refinement, the paper's eq. 13): every seam between structures lies inside a window.
    What reaches beyond the last frame is cut off.

    Attributes:
        num_frames: the video's length: a whole number, or `math.inf`.
        segment_frames: a structure's length.
        overlap: how many frames two adjacent windows both refine, around the cut between them; at
            most half a structure.
        staggered: False cuts windows at the seams between structures instead.
        space: what the experts work in: structures and windows have as many frames as it takes.

    Raises:
        ValueError: a length below 1, or an overlap that does not fit.
    """

    num_frames: float
    segment_frames: int
    overlap: int = 0
    staggered: bool = True
    space: LatentSpace = PICTURES

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.segment_frames < 1:
            raise ValueError(
                f"a timeline needs at least one frame, not {self.num_frames} in "
                f"{self.segment_frames}"
            )
        if not 0 <= self.overlap <= self.segment_frames // 2:
            raise ValueError(
                f"windows of {self.segment_frames} frames cannot overlap by {self.overlap}"
            )

    @cached_property
    def length(self) -> int:
        """Frames of every structure."""
        return self.space.rounded_up(int(min(self.num_frames, self.segment_frames)))

    @cached_property
    def structure_count(self) -> float:
        """How many structures there are: a whole number, or `math.inf`."""
        if math.isinf(self.num_frames):
            return math.inf
        return math.ceil(self.num_frames / self.length)

    @cached_property
    def window_count(self) -> float:
        """How many windows there are: a whole number, or `math.inf`."""
        if self.structure_count == 1 or math.isinf(self.num_frames):
            return self.structure_count
        # That of the first cut at the end or beyond.
        return math.ceil((self.num_frames - self._cut(0)) / self.length)

    def structure(self, number: int) -> Span:
        """The span of structure `number`, from 0; the last one may reach beyond the video."""
        return Span(number * self.length, (number + 1) * self.length)

    def window(self, number: int) -> Span:
        """The frames that window `number`, from 0, decides: those before the next window begins."""
        if number + 1 >= self.window_count:
            return Span(self._start(number), int(self.num_frames))
        return Span(self._start(number), self._start(number + 1))

    def refines(self, number: int) -> Span:
        """The frames that window `number` refines: those it decides and shares with the next one.

        Where the video ends earlier, the window is whole all the same, as far as there are
        structures: one of a few frames would be a bad one. All windows but the last are those of
        any longer video. What the space takes more reaches beyond the structures, too.
        """
        if self.structure_count == 1:
            return self.structure(0)
        start, stop = self._start(number), self._start(number + 1) + self.overlap
        if math.isfinite(self.num_frames):
            stop = min(stop, self.structure(int(self.structure_count) - 1).stop)
        return Span(start, start + self.space.rounded_up(stop - start))

    def structures_of(self, span: Span) -> range:
        """The numbers of the structures that a span has frames of."""
        stop = min((span.stop - 1) // self.length + 1, self.structure_count)
        return range(span.start // self.length, int(stop))

    @property
    def structures(self) -> tuple[Span, ...]:
        """All structures' spans, of a video that ends."""
        return tuple(self.structure(number) for number in count_up(self.structure_count))

    @property
    def windows(self) -> tuple[Span, ...]:
        """What all windows decide, of a video that ends: they tile it."""
        return tuple(self.window(number) for number in count_up(self.window_count))

    def _cut(self, number: int) -> int:
        """Where windows `number - 1` and `number` meet: in the middle of what they share."""
        half = (self.length + 1) // 2 if self.staggered and self.length > 1 else 0
        return number * self.length - half

    def _start(self, number: int) -> int:
        return self._cut(number) - self.overlap // 2 if number else 0


def count_up(how_many: float) -> Iterator[int]:
    """0, 1, ... as many as there are; without end for `math.inf`."""
    return iter(range(int(how_many))) if math.isfinite(how_many) else count()

"""Where structures and refinement windows begin and end. Nothing else decides this."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


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
    """A video of `num_frames` frames made of structures of `segment_frames` frames.

    A video that fits one structure has one structure of its own length and one window, all of it. From two structures
    on every structure is whole, and windows are cut in the middle of each (staggered refinement, the paper's eq. 13):
    every seam between structures lies inside a window. What reaches beyond the last frame is cut off.

    Raises:
        ValueError: a length below 1.
    """

    num_frames: int
    segment_frames: int

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.segment_frames < 1:
            raise ValueError(f"a timeline needs at least one frame, not {self.num_frames} in {self.segment_frames}")

    @property
    def structures(self) -> tuple[Span, ...]:
        """The structures' spans; the last one may reach beyond the video."""
        if self.num_frames <= self.segment_frames:
            return (Span(0, self.num_frames),)
        starts = range(0, self.num_frames, self.segment_frames)
        return tuple(Span(start, start + self.segment_frames) for start in starts)

    @property
    def windows(self) -> tuple[Span, ...]:
        """The refinement windows' spans: they tile the video."""
        if len(self.structures) == 1:
            return self.structures
        middles = [span.start + self.segment_frames // 2 for span in self.structures]
        cuts = [0, *(middle for middle in middles if 0 < middle < self.num_frames), self.num_frames]
        return tuple(Span(start, stop) for start, stop in pairwise(cuts))

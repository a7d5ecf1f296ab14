"""Whether a video that plays in a loop jumps where it starts over."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from statistics import median

from confiner_cli.measures.pictures import Picture, change

LEAST_CHANGE = 0.5
"""In levels of 0 to 255: a smaller mean change is not seen."""


@dataclass
class LoopSeam:
    """The change from the last frame to the first over the median change between neighbours.

    1 is a loop that cannot be seen, and what stands still has it; smaller is better, though below 1
    it makes no difference. Of the video one number a frame is kept.
    """

    _changes: array[float] = field(default_factory=lambda: array("d"))
    _first: Picture | None = None
    _last: Picture | None = None

    def add(self, picture: Picture) -> None:
        """The next frame."""
        if self._last is None:
            self._first = picture
        else:
            self._changes.append(change(self._last, picture))
        self._last = picture

    def value(self) -> float:
        """0 or more."""
        assert self._first is not None and self._last is not None
        seam = change(self._last, self._first)
        return max(seam, LEAST_CHANGE) / max(median(self._changes), LEAST_CHANGE)

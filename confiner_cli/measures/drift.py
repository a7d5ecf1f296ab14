"""How far a video goes from how it began: in colour, contrast and sharpness."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from confiner_cli.measures.pictures import Picture, contrast, luma, mean_colour
from confiner_cli.measures.sharpness import LEAST_CONTRAST, sharpness_of

PARTS = 4
"""The first and the last of so many parts are compared."""
LEAST_SHARPNESS = 1e-3


@dataclass
class _Part:
    """Sums over the frames of a part."""

    colour: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    contrast: float = 0.0
    sharpness: float = 0.0

    def add(self, picture: Picture) -> None:
        levels = luma(picture)
        self.colour = self.colour + mean_colour(picture)
        self.contrast += contrast(levels)
        self.sharpness += sharpness_of(levels)


class Drift:
    """The change from the first quarter of a video to the last, 0 or more; smaller is better.

    The root of the sum of three squares: of the change of the mean colour (root mean square over R,
    G and B, 1 is from black to white), and of the changes of contrast and of sharpness, each as the
    logarithm of its ratio (0.1 is some 10 percent). What comes into the picture counts as well.
    """

    def __init__(self, num_frames: int) -> None:
        """Of a video of so many frames, at least two."""
        self._num_frames = num_frames
        self._length = max(1, num_frames // PARTS)
        self._first, self._last = _Part(), _Part()
        self._number = 0

    def add(self, picture: Picture) -> None:
        """The next frame."""
        if self._number < self._length:
            self._first.add(picture)
        if self._number >= self._num_frames - self._length:
            self._last.add(picture)
        self._number += 1

    def value(self) -> float:
        """0 is none."""
        first, last, count = self._first, self._last, self._length
        moved = (last.colour - first.colour) / (255 * count)
        colour = math.sqrt(float(np.square(moved).mean()))
        return math.hypot(
            colour,
            _ratio(last.contrast, first.contrast, count * LEAST_CONTRAST),
            _ratio(last.sharpness, first.sharpness, count * LEAST_SHARPNESS),
        )


def _ratio(last: float, first: float, least: float) -> float:
    """Its logarithm; smaller values than `least` are taken for that."""
    return math.log(max(last, least) / max(first, least))

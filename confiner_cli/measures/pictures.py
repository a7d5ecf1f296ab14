"""Single pictures in numbers. Sums are of whole numbers: they have the same bits everywhere."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = NDArray[np.uint8]
"""`(height, width, 3)`, RGB."""
Luma: TypeAlias = NDArray[np.int32]
"""`(height, width)`, in [0, 255]."""

BT709 = (54, 183, 19)
"""Luma's shares of R, G and B, of 256: of BT.709, as which our videos are tagged."""


def luma(picture: Picture) -> Luma:
    """The brightness of each pixel, in whole levels."""
    red, green, blue = (picture[..., channel].astype(np.int32) for channel in range(3))
    weighted = BT709[0] * red + BT709[1] * green + BT709[2] * blue
    return (weighted + 128) // 256


def mean_colour(picture: Picture) -> NDArray[np.float64]:
    """The mean of R, G and B, `(3,)`, in [0, 255]."""
    height, width, _ = picture.shape
    total = picture.sum(axis=(0, 1), dtype=np.int64)
    return np.asarray(total / (height * width), np.float64)


def contrast(levels: Luma) -> float:
    """The standard deviation of luma, in levels of 0 to 255."""
    mean = levels.sum(dtype=np.int64) / levels.size
    mean_square = np.square(levels).sum(dtype=np.int64) / levels.size
    return float(np.sqrt(max(mean_square - mean**2, 0)))


def roughness(levels: Luma) -> float:
    """The root mean square difference of neighbouring pixels, in levels of 0 to 255."""
    squares = [np.square(np.diff(levels, axis=axis)) for axis in (0, 1)]
    total = sum(int(each.sum(dtype=np.int64)) for each in squares)
    return float(np.sqrt(total / max(sum(each.size for each in squares), 1)))


def change(before: Picture, after: Picture) -> float:
    """The mean absolute difference of two pictures, in levels of 0 to 255."""
    apart = np.maximum(before, after) - np.minimum(before, after)
    return float(apart.sum(dtype=np.int64) / apart.size)

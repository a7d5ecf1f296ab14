"""Where the pixels of each frame are in its neighbours: dense optical flow, by OpenCV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from confiner_cli.measures.pictures import Picture, luma

LARGEST = 256
"""Pixels: flow is computed of frames whose longer side has no more; larger ones are averaged."""
SMALLEST = 16
"""Pixels: smaller frames are continued by what their border has."""
CONSISTENCY = (0.01, 0.5)
"""Sundaram, Brox and Keutzer (ECCV 2010): when flow there and back do not meet."""

Colours: TypeAlias = NDArray[np.float32]
"""`(height, width, 3)`, RGB in [0, 255]."""
Flow: TypeAlias = NDArray[np.float32]
"""`(height, width, 2)`: how many pixels farther, along x and y, each pixel is in another frame."""


@dataclass(frozen=True)
class Moment:
    """A frame between its neighbours.

    Attributes:
        before, frame, after: three frames in a row, scaled to `LARGEST`.
        backward, forward: from the middle one to the one before it, and to the one after.
        followed: the pixels that are in view in all three, `(height, width)`, bool.
    """

    before: Colours
    frame: Colours
    after: Colours
    backward: Flow
    forward: Flow
    followed: NDArray[np.bool_]


@dataclass(frozen=True)
class _Pair:
    """Two frames in a row, and the flow from each to the other."""

    first: Colours
    second: Colours
    forward: Flow
    backward: Flow


def moments(pictures: Iterable[Picture]) -> Iterator[Moment]:
    """All frames but the first and the last between their neighbours, as they come.

    The flow is DIS (Kroeger et al., ECCV 2016) at the finest scale. It compares patches without
    their means, so that flicker does not look like motion.
    """
    for earlier, later in pairwise(_pairs(pictures)):
        visible = [_meets(earlier.backward, earlier.forward), _meets(later.forward, later.backward)]
        yield Moment(
            before=earlier.first,
            frame=earlier.second,
            after=later.second,
            backward=earlier.backward,
            forward=later.forward,
            followed=visible[0] & visible[1],
        )


def fetched(picture: Colours, flow: Flow) -> Colours:
    """Another frame, led back by the flow to it: what each pixel has become there.

    Lanczos: linear interpolation takes sharpness, which would look like flicker between pixels.
    """
    x, y = _places(flow)
    led = cv2.remap(picture, x, y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(led, np.float32)


def lengths(flow: Flow) -> NDArray[np.float32]:
    """How many pixels each goes, `(height, width)`."""
    return np.hypot(flow[..., 0], flow[..., 1])


@contextmanager
def one_thread() -> Iterator[None]:
    """In the body OpenCV computes in one thread, and leaves the other cores to other workers."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _pairs(pictures: Iterable[Picture]) -> Iterator[_Pair]:
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    finder.setFinestScale(0)

    def flow(source: Colours, target: Colours) -> Flow:
        height, width, _ = source.shape
        found = finder.calc(_grey(source), _grey(target), None)  # type: ignore[call-overload]
        return np.asarray(found[:height, :width], np.float32)

    for first, second in pairwise(map(_scaled, pictures)):
        yield _Pair(first, second, flow(first, second), flow(second, first))


def _scaled(picture: Picture) -> Colours:
    height, width, _ = picture.shape
    scale = min(1, LARGEST / max(height, width))
    if scale < 1:
        size = max(1, round(scale * width)), max(1, round(scale * height))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return picture.astype(np.float32)


def _grey(picture: Colours) -> NDArray[np.uint8]:
    """Luma, at least `SMALLEST` high and wide."""
    height, width, _ = picture.shape
    more = ((0, max(0, SMALLEST - height)), (0, max(0, SMALLEST - width)))
    return np.pad(luma(picture.astype(np.uint8)).astype(np.uint8), more, mode="edge")


def _meets(there: Flow, back: Flow) -> NDArray[np.bool_]:
    """Which pixels stay in the picture, and come back to where they were, or nearly."""
    height, width, _ = there.shape
    x, y = _places(there)
    returned = cv2.remap(back, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    missed = np.square(there + returned).sum(axis=2)
    share, least = CONSISTENCY
    allowed = share * (np.square(there) + np.square(returned)).sum(axis=2) + least
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return np.asarray(inside & (missed < allowed), np.bool_)


def _places(flow: Flow) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel is in the other frame: x and y, `(height, width)`."""
    height, width, _ = flow.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x + flow[..., 0], y + flow[..., 1]

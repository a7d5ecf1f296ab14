"""How much a video moves, and how evenly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from confiner_cli.measures.optical_flow import Moment, lengths

STILL = 0.2
"""Pixels a frame, of frames as flow sees them: what moves less stands still, but for noise."""


@dataclass
class Amplitude:
    """How far pixels move from frame to frame, in percent of the frame's diagonal; all of them.

    0 stands still; neither more nor less is better. Where everything moves by d pixels a frame, it
    is `100 d / sqrt(height^2 + width^2)`.
    """

    _sum: float = 0.0
    _count: int = 0

    def add(self, moment: Moment) -> None:
        """The next frame, between its neighbours."""
        height, width, _ = moment.frame.shape
        for flow in (moment.backward, moment.forward):
            mean = float(lengths(flow).mean(dtype=np.float64))
            self._sum += 100 * mean / float(np.hypot(height, width))
            self._count += 1

    def value(self) -> float:
        """0 or more."""
        return self._sum / self._count


@dataclass
class Smoothness:
    """How evenly what moves goes on, in [0, 1]; larger is better, and 1 is uniform motion.

    `1 - sum |forward + backward| / sum (|forward| + |backward|)` over all pixels that are in view
    in three frames and move: of a uniform motion the way to the frame before is the opposite of the
    way to the next one. 0 is motion that stops or turns back at every frame. It does not depend on
    the speed; what stands still has 1, so look at `motion_amplitude` too.
    """

    _changes: float = 0.0
    _ways: float = 0.0

    def add(self, moment: Moment) -> None:
        """The next frame, between its neighbours."""
        backward, forward = lengths(moment.backward), lengths(moment.forward)
        moving = moment.followed & (np.maximum(backward, forward) > STILL)
        turns = lengths(moment.forward + moment.backward)
        self._changes += float(turns[moving].sum(dtype=np.float64))
        self._ways += float((backward + forward)[moving].sum(dtype=np.float64))

    def value(self) -> float:
        """In [0, 1]."""
        return 1 - self._changes / self._ways if self._ways else 1.0

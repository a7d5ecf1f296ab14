"""Frame-to-frame change that motion does not explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from confiner_cli.measures.optical_flow import Moment, fetched


@dataclass
class Flicker:
    """How far frames leave the course of their neighbours, along the motion; smaller is better.

    The warping error of Lai et al. (ECCV 2018), of pixels that are in view in all three frames, as
    a second difference: `|x_t - (x_t-1 + x_t+1) / 2|`, where the neighbours are led along the flow.
    So neither motion nor a fade counts. It is the mean over colours, pixels and frames, in levels
    of 0 to 255: of brightness or noise that is drawn anew in every frame with a standard deviation
    of s it is near s (0.98 s). Rounding to whole levels alone makes some 0.3.
    """

    _sum: float = 0.0
    _count: int = 0

    def add(self, moment: Moment) -> None:
        """The next frame, between its neighbours. Where nothing can be followed, all of it."""
        course = fetched(moment.before, moment.backward) + fetched(moment.after, moment.forward)
        off = np.abs(moment.frame - course / 2)
        seen = off[moment.followed] if moment.followed.any() else off
        self._sum += float(seen.mean(dtype=np.float64))
        self._count += 1

    def value(self) -> float:
        """0 or more."""
        return self._sum / self._count

"""The numbers of the tables as data: what each is called, what it is computed from, how it is written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from evaluation.sample import Bootstrap, Sample
from evaluation.statistics import Interval, interval, interval_of_share, mean, median


@dataclass(frozen=True)
class Measure:
    """A number of a row.

    Attributes:
        title: as a column's header.
        computed: from all prompts once and from every draw, `(1 + replicate,)`.
        digits: after the point.
        share: whether it is a share of clips, between 0 and 1.
    """

    title: str
    computed: Callable[[Sample, Bootstrap], Tensor]
    digits: int
    share: bool = False

    def of(self, sample: Sample, bootstrap: Bootstrap) -> Interval:
        """The number and its interval."""
        computed = self.computed(sample, bootstrap)
        return interval_of_share(computed, bootstrap.drawn.shape[1]) if self.share else interval(computed)

    def difference(self, sample: Sample, other: Sample, bootstrap: Bootstrap) -> Interval:
        """A row's number less another row's: the paired comparison."""
        computed = self.computed(sample, bootstrap) - self.computed(other, bootstrap)
        prompts = bootstrap.drawn.shape[1]
        return interval_of_share(computed, prompts, lowest=-1) if self.share else interval(computed)

    def ratio(self, sample: Sample, other: Sample, bootstrap: Bootstrap) -> Interval:
        """A row's number over another row's, on the same draws."""
        return interval(self.computed(sample, bootstrap) / self.computed(other, bootstrap))


@functools.cache
def _distance(sample: Sample, bootstrap: Bootstrap) -> Tensor:
    """Seconds of work for each row, asked for in several tables."""
    return bootstrap.frechet.distances(sample.features)


def _mean(title: str, column: str, digits: int, share: bool = False) -> Measure:
    return Measure(title, lambda sample, boot: mean(sample.columns[column], boot.drawn), digits, share)


FLICKER = _mean("flicker", "flicker", 3)
DISTANCE = Measure("feature distance", _distance, 2)
CONTRAST = _mean("contrast", "contrast", 4)
MOTION = _mean("motion", "motion", 3, share=True)
ALL_FOUR = _mean("all four", "all", 3, share=True)
JITTER = _mean("jitter", "jitter", 2)
COLOUR_FRAMES = _mean("colour, frames", "colour_frames", 3, share=True)
SHARPNESS = _mean("sharpness", "sharpness", 3)
CONSISTENCY = _mean("subject consistency", "subject_consistency", 4)
COLOUR_SHIFT = _mean("colour shift", "colour_shift", 2)
AMPLITUDE = _mean("amplitude", "amplitude", 3)
SECONDS = Measure("seconds", lambda sample, boot: median(sample.columns["seconds"], boot.drawn), 2)

MAIN = (FLICKER, DISTANCE, CONTRAST, MOTION, ALL_FOUR, SECONDS)
COMPARED = (FLICKER, DISTANCE, CONTRAST, MOTION, JITTER, AMPLITUDE)
SEEN = (
    *(_mean(name, name, 3, share=True) for name in ("shape", "colour", "background", "motion")),
    ALL_FOUR,
    _mean("shape, frames", "shape_frames", 3, share=True),
    COLOUR_FRAMES,
    _mean("background, frames", "background_frames", 3, share=True),
)
REST = (SHARPNESS, JITTER, CONSISTENCY, COLOUR_SHIFT, AMPLITUDE)

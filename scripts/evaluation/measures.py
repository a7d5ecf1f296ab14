"""The numbers of the tables as data: their names, where they come from, how sure they are."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.sample import Bootstrap, Sample
from evaluation.statistics import Interval, interval, less_bias, mean, median


@dataclass(frozen=True)
class Measure(ABC):
    """A number of a row.

    Attributes:
        title: as a column's header.
        digits: after the point.
    """

    title: str
    digits: int

    @abstractmethod
    def _computed(self, sample: Sample, bootstrap: Bootstrap) -> Tensor:
        """From all prompts once and from every draw, `(1 + replicate,)`."""

    def of(self, sample: Sample, bootstrap: Bootstrap) -> Interval:
        """The number and its interval."""
        return interval(self._computed(sample, bootstrap))

    def difference(self, sample: Sample, other: Sample, bootstrap: Bootstrap) -> Interval:
        """A row's number minus another row's: the paired comparison."""
        return interval(self._computed(sample, bootstrap) - self._computed(other, bootstrap))

    def ratio(self, sample: Sample, other: Sample, bootstrap: Bootstrap) -> Interval:
        """A row's number over another row's, on the same draws."""
        return interval(self._computed(sample, bootstrap) / self._computed(other, bootstrap))


@dataclass(frozen=True)
class Mean(Measure):
    """The mean of a column of the results."""

    column: str

    def _computed(self, sample: Sample, bootstrap: Bootstrap) -> Tensor:
        return mean(sample.columns[self.column], bootstrap.drawn)


@dataclass(frozen=True)
class Median(Mean):
    """The median over prompts of a column of the results."""

    def _computed(self, sample: Sample, bootstrap: Bootstrap) -> Tensor:
        return median(sample.columns[self.column], bootstrap.drawn)


@dataclass(frozen=True)
class Share(Mean):
    """The share of clips or frames for which a column of the results is 1.

    For the interval two prompts are added, one that says yes and one that says no (Agresti and
    Coull, 1998): else what is right in all prompts, or differs in two of them, would seem to be
    certain.
    """

    def of(self, sample: Sample, bootstrap: Bootstrap) -> Interval:
        """The number and its interval, which does not leave 0 to 1."""
        return self._interval(sample.columns[self.column], bootstrap, (1.0, 0.0))

    def difference(self, sample: Sample, other: Sample, bootstrap: Bootstrap) -> Interval:
        """The paired comparison: each of the two prompts is right in one of the rows only."""
        return self._interval(
            sample.columns[self.column] - other.columns[self.column], bootstrap, (1.0, -1.0)
        )

    def _interval(
        self, values: Tensor, bootstrap: Bootstrap, added: tuple[float, float]
    ) -> Interval:
        found = interval(
            mean(torch.cat((values, values.new_tensor(added))), bootstrap.drawn_with_two)
        )
        return Interval(float(values.mean()), found.low, found.high)


@dataclass(frozen=True)
class Distance(Measure):
    """The Frechet distance of the judge's features to those of renders.

    Drawing again adds to it: that is taken off.
    """

    def _computed(self, sample: Sample, bootstrap: Bootstrap) -> Tensor:
        return _distances(sample, bootstrap)


@functools.cache
def _distances(sample: Sample, bootstrap: Bootstrap) -> Tensor:
    """Seconds of work for each row, asked for in several tables."""
    return less_bias(bootstrap.frechet.distances(sample.features))


FLICKER = Mean("flicker", 3, "flicker")
DISTANCE = Distance("feature distance", 2)
CONTRAST = Mean("contrast", 4, "contrast")
MOTION = Share("motion", 3, "motion")
ALL_FOUR = Share("all four", 3, "all")
JITTER = Mean("jitter", 2, "jitter")
AMPLITUDE = Mean("amplitude", 3, "amplitude")
COLOUR_FRAMES = Share("colour, frames", 3, "colour_frames")
SHARPNESS = Mean("sharpness", 3, "sharpness")
CONSISTENCY = Mean("subject consistency", 4, "subject_consistency")
COLOUR_SHIFT = Mean("colour shift", 2, "colour_shift")
SECONDS = Median("seconds", 2, "seconds")

MAIN = (FLICKER, DISTANCE, CONTRAST, MOTION, ALL_FOUR, SECONDS)
COMPARED = (FLICKER, DISTANCE, CONTRAST, MOTION, JITTER, AMPLITUDE, CONSISTENCY, COLOUR_SHIFT)
SEEN = (
    Share("shape", 3, "shape"),
    Share("colour", 3, "colour"),
    Share("background", 3, "background"),
    MOTION,
    ALL_FOUR,
    Share("shape, frames", 3, "shape_frames"),
    COLOUR_FRAMES,
    Share("background, frames", 3, "background_frames"),
)
REST = (SHARPNESS, JITTER, CONSISTENCY, COLOUR_SHIFT, AMPLITUDE)

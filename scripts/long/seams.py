"""Where the seams of a long video are, and how much larger the change is there than elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from confiner_cli.method.long.timeline import Timeline

NEAR = 2
"""How many frames beside a structure seam a jump may hide."""


@dataclass(frozen=True)
class Seams:
    """Frames by number; the change that belongs to a frame is the one from the frame before it.

    Attributes:
        structures: the first frame of every structure but the first.
        windows: for every refinement window but the first, the frames at which it meets the one
            before it: its first, or, where they overlap, all that they share and the one after
            them.
    """

    structures: tuple[int, ...]
    windows: tuple[range, ...]

    @classmethod
    def of(cls, timeline: Timeline) -> Seams:
        """The seams of a video that ends."""
        length, overlap = int(timeline.num_frames), timeline.overlap
        cuts = [window.start for window in timeline.windows[1:]]
        return cls(
            tuple(part.start for part in timeline.structures[1:]),
            tuple(range(cut, min(cut + overlap + 1, length)) for cut in cuts),
        )

    @classmethod
    def every(cls, num_frames: int, structure: int, window: int) -> Seams:
        """Structures and windows that begin every so many frames, without an overlap."""
        cuts = range(window, num_frames, window)
        return cls(
            tuple(range(structure, num_frames, structure)),
            tuple(range(cut, cut + 1) for cut in cuts),
        )


def pixel_changes(clip: Tensor) -> Tensor:
    """Mean absolute difference of consecutive frames, `(frame - 1,)`.

    Args:
        clip: `(frame, 3, size, size)` in [0, 1].
    """
    return clip.diff(dim=0).abs().mean(dim=(1, 2, 3))


def feature_changes(features: Tensor) -> Tensor:
    """Euclidean distance of consecutive frames, `(frame - 1,)`, of features `(frame, width)`."""
    return features.diff(dim=0).square().sum(dim=1).sqrt()


def ratios(changes: Tensor, seams: Seams, floor: float) -> dict[str, float]:
    """Changes at seams over the median change inside structures; 1 cannot be seen.

    NaN where there is no such seam. The median is over all changes inside structures, so that it is
    the same set for every row; windows that meet there hardly move it. Numerator and denominator
    are at least `floor`: what stands perfectly still has the ratio 1.

    Args:
        changes: `(frame - 1,)`, from each frame to the next.
        seams: where the seams are.
        floor: a change below which nothing is seen.

    Returns:
        `structure_seam`: the mean over structure seams.
        `seam_near`: the mean over them of the largest change within `NEAR` frames, since a bridged
            jump hides there.
        `window_seam`: the mean over all changes where windows meet, first over each overlap.
        `window_seam_largest`: the mean over windows of the largest change there (of an overlap of 4
            frames, one of 5).
    """
    ordinary = max(_ordinary(changes, seams), floor)

    def over(values: list[float]) -> float:
        return fmean(max(value, floor) / ordinary for value in values) if values else float("nan")

    near = [_at(changes, range(seam - NEAR, seam + NEAR + 1)) for seam in seams.structures]
    meeting = [_at(changes, frames) for frames in seams.windows]
    return {
        "structure_seam": over(_at(changes, seams.structures).tolist()),
        "seam_near": over([float(values.max()) for values in near]),
        "window_seam": over([float(values.mean()) for values in meeting]),
        "window_seam_largest": over([float(values.max()) for values in meeting]),
    }


def _ordinary(changes: Tensor, seams: Seams) -> float:
    inside = torch.ones(len(changes), dtype=torch.bool)
    inside[[frame - 1 for frame in seams.structures]] = False
    return float(changes[inside].median())


def _at(changes: Tensor, frames: range | tuple[int, ...]) -> Tensor:
    """The changes from the frame before to each of the frames that there are."""
    return changes[[frame - 1 for frame in frames if 1 <= frame <= len(changes)]]

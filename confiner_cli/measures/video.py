"""The measures of a video file, of its frames as they are decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from confiner_cli.measures.drift import Drift
from confiner_cli.measures.loop_seam import LoopSeam
from confiner_cli.measures.pictures import Picture
from confiner_cli.measures.sharpness import Sharpness
from confiner_cli.measures.table import MEASURES, lacking
from confiner_cli.media.source_video import probe, read_frames

HINT = "name a video file, such as an MP4, or a run folder"


@dataclass(frozen=True)
class Measured:
    """What is known of a video.

    Attributes:
        num_frames: how many it has.
        values: its measures by name, in the order of `MEASURES`; all are finite.
        lacking: why it has not the others, by name.
    """

    num_frames: int
    values: dict[str, float]
    lacking: dict[str, str]


class _OfFrames(Protocol):
    """A measure of frames as they are."""

    def add(self, picture: Picture, /) -> None: ...

    def value(self) -> float: ...


def measure_video(path: Path) -> Measured:
    """Measure a video, of any kind that ffmpeg reads, as players show it.

    Memory does not grow with it but for 8 bytes a frame. The same file has the same values, to the
    bit, on the same machine.

    Raises:
        ConfinerError: it is no video, or damaged.
        OSError: it may not be read.
    """
    source = probe(path, HINT)
    frames = read_frames(source, source.size)
    return measure_frames((frame.numpy() for frame in frames), source.num_frames)


def measure_frames(pictures: Iterable[Picture], num_frames: int) -> Measured:
    """Measure frames as they come.

    Args:
        pictures: uint8 `(height, width, 3)`, RGB, all of one size.
        num_frames: how many there are going to be.
    """
    why_not = lacking(num_frames)
    of_frames: dict[str, _OfFrames] = {
        "sharpness": Sharpness(),
        "drift": Drift(num_frames),
        "loop_seam": LoopSeam(),
    }
    asked = {name: each for name, each in of_frames.items() if name not in why_not}
    passing = _added(pictures, asked.values())
    follows = any(each.needs_flow and each.name not in why_not for each in MEASURES.values())
    values = _of_motion(passing) if follows else {}
    deque(passing, maxlen=0)  # frames that nobody has asked for
    values |= {name: each.value() for name, each in asked.items()}
    ordered = {name: values[name] for name in MEASURES if name in values}
    return Measured(num_frames, ordered, why_not)


def _added(pictures: Iterable[Picture], measures: Iterable[_OfFrames]) -> Iterator[Picture]:
    """Pass frames on, once they are added to measures."""
    chosen = tuple(measures)
    for picture in pictures:
        for measure in chosen:
            measure.add(picture)
        yield picture


def _of_motion(pictures: Iterable[Picture]) -> dict[str, float]:
    """The measures that follow motion."""
    # OpenCV: an extra that may not be there.
    from confiner_cli.measures.flicker import Flicker
    from confiner_cli.measures.motion import Amplitude, Smoothness
    from confiner_cli.measures.optical_flow import moments, one_thread

    measures: dict[str, Flicker | Amplitude | Smoothness] = {
        "flicker": Flicker(),
        "motion_amplitude": Amplitude(),
        "motion_smoothness": Smoothness(),
    }
    with one_thread():
        for moment in moments(pictures):
            for measure in measures.values():
                measure.add(moment)
    return {name: measure.value() for name, measure in measures.items()}

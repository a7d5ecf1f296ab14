"""The sound of a given video, copied to a result that shows its frames one to one."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from confiner_cli.media import ffmpeg
from confiner_cli.media.formats import Format
from confiner_cli.media.source_video import SourceVideo

SOUND_CHOICES = ("copy", "none")
SAME_RATE = 1e-5
"""How much two rates may differ: a tenth of a second in three hours. 29.97 is 30000/1001."""


@dataclass(frozen=True)
class Sound:
    """A part of a file's first sound track.

    Attributes:
        path: the file.
        start: where the part begins, in seconds from the beginning of the file.
        seconds: how long it is at most.
    """

    path: Path
    start: float
    seconds: float

    @property
    def input(self) -> tuple[str, ...]:
        """The arguments that give ffmpeg the part as one more input."""
        sought = ("-ss", f"{self.start:.6f}") if self.start else ()
        return *sought, "-t", f"{self.seconds:.6f}", "-i", f"file:{self.path}"


def sound_of(source: SourceVideo, num_frames: int, fps: float) -> Sound:
    """The sound that belongs to the first frames of a video."""
    return Sound(source.path, source.start, num_frames / fps)


def obstacle(source: SourceVideo, num_frames: int, fps: float, kind: Format) -> str:
    """Why a result cannot have the sound of the video that it is made of; empty where it can.

    Args:
        source: the given video, which has sound.
        num_frames: of the result.
        fps: of the result, frames a second.
        kind: of the file that the result is.
    """
    if not kind.holds_sound:
        return f"{kind.title} holds none"
    if not math.isclose(fps, source.fps, rel_tol=SAME_RATE):
        return f"fps={fps:g} is not the {source.fps:g} of the video that it belongs to"
    # Whether a container holds a codec is for ffmpeg to say; nothing is kept of what it writes.
    ending = ffmpeg.run(
        *("-y", "-loglevel", "error", *sound_of(source, num_frames, fps).input),
        *("-map", "0:a:0", "-c", "copy", *_streamed(kind), f"file:{os.devnull}"),
    )
    if ending.status == 0:
        return ""
    return f"{kind.title} cannot hold it as it is ({source.sound})"


def _streamed(kind: Format) -> Sequence[str]:
    """The options that write such a file without going back in it."""
    pieces = ("-movflags", "+frag_keyframe+empty_moov") if kind.name == "mp4" else ()
    return *pieces, "-f", kind.name

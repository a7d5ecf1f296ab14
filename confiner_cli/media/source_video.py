"""Other people's videos: what they are, and their frames at one constant rate and in one size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from confiner_cli.errors import ConfinerError
from confiner_cli.media import ffmpeg

if TYPE_CHECKING:  # torch takes a second to import, and a look at a video does not need it
    from torch import Tensor

NTSC = {round(whole * 1000 / 1001, 2): whole * 1000 / 1001 for whole in (24, 30, 48, 60, 120, 240)}
"""Rates that are not what they are called: 29.97 is 30000/1001."""
CLOCK = 1000
"""A rate that is a file's clock (milliseconds) and not that of its frames."""
HINT = "structure.video= takes a video file, such as an MP4"
REENCODE = "copy the file once more, or encode it anew with a tool that can still read it"
SCALE = "lanczos+accurate_rnd+full_chroma_int"


@dataclass(frozen=True)
class SourceVideo:
    """A video file, as players show it.

    Attributes:
        path: the file.
        num_frames: how many frames it has at `fps`, at least 1.
        fps: frames a second; the average where the file's rate varies.
        size: `(height, width)` in square pixels, turned upright.
    """

    path: Path
    num_frames: int
    fps: float
    size: tuple[int, int]


def probe(path: Path) -> SourceVideo:
    """Look at a video and count its frames by decoding all of them. Sound is ignored.

    Raises:
        ConfinerError: there is no such file, it is no video or has no frames or no rate, or it is
            damaged.
    """
    if path.is_dir():
        raise ConfinerError(f"{path} is a folder", HINT)
    if not path.is_file():
        raise ConfinerError(f"there is no file {path}", HINT)
    fps, size = _rate_and_size(path)
    num_frames, ending = ffmpeg.count(path, "-vf", _constant(fps))
    if ending.status != 0:
        raise _damaged(path, num_frames)
    if num_frames == 0:
        raise ConfinerError(f"{path} has no frame that can be read", HINT)
    return SourceVideo(path, num_frames, fps, size)


def read_frames(source: SourceVideo, size: tuple[int, int], start: int = 0) -> Iterator[Tensor]:
    """Its frames from `start` on, scaled until they cover `size` and cropped in the middle.

    The frames before `start` are decoded, too: frame k has the same bits wherever the stream
    begins.

    Args:
        source: what `probe` found.
        size: `(height, width)` of the frames that come.
        start: the first frame's number, from 0.

    Yields:
        uint8 `(height, width, 3)`, RGB, `source.num_frames - start` of them, as they are decoded.

    Raises:
        ConfinerError: the file has changed or is damaged; says which frame was reached.
    """
    filters = f"{_constant(source.fps)},select='gte(n,{start})',{_covering(size)}"
    number = start
    try:
        with closing(ffmpeg.decode(source.path, "-vf", filters)) as frames:
            for frame in islice(frames, source.num_frames - start):
                yield frame
                number += 1
    except ffmpeg.DecodingError as error:
        raise _damaged(source.path, number) from error
    if number < source.num_frames:
        raise _damaged(source.path, number)


def _constant(fps: float) -> str:
    """The filter that makes a rate constant, from time 0 on: frames are repeated or left out."""
    return f"setpts=PTS-STARTPTS,fps={fps}"


def _covering(size: tuple[int, int]) -> str:
    """The filters that scale pictures, whatever their aspect ratio `dar`, and crop them."""
    height, width = size
    scaled = f"w='max({width},round({height}*dar))':h='max({height},round({width}/dar))'"
    return f"scale={scaled}:flags={SCALE},format=rgb24,crop={width}:{height}"


def _rate_and_size(path: Path) -> tuple[float, tuple[int, int]]:
    """Frames a second, and `(height, width)` in square pixels.

    From the first frame as YUV4MPEG, whose head states the size, the rate that ffmpeg takes the
    file to be meant for, and the aspect ratio of a pixel.
    """
    ending = ffmpeg.run(
        *ffmpeg.pictures_of(path),
        *("-frames:v", "1", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"),
    )
    head = re.match(rb"YUV4MPEG2 W(\d+) H(\d+) F(\d+):(\d+) I. A(\d+):(\d+)", ending.output)
    if head is None:
        opened = re.search(r"^ *Stream #0:", ending.messages, re.MULTILINE)
        fault = "has no frame that can be read" if opened else "is not a video that can be read"
        raise ConfinerError(f"{path} {fault}", HINT)
    width, height, frames, seconds, wide, high = map(int, head.groups())
    fps = _rate(ending.messages, frames / seconds)
    if not 0 < fps < CLOCK:
        raise ConfinerError(
            f"{path} does not say how many frames a second it has", "encode it at a constant rate"
        )
    if wide and high:  # 0:0 is not known, and taken for square
        width = round(width * wide / high)
    return fps, (height, width)


def _rate(messages: str, guessed: float) -> float:
    """The average rate; ffmpeg prints it with two decimals, the one it guesses is exact.

    Args:
        messages: what ffmpeg says about a file that it opens.
        guessed: the rate that it takes the file to be meant for, which a varying rate may not
            reach.
    """
    stated = re.search(
        r"^ *Stream #0:.*: Video: (?!.*\(attached pic\)).*?, ([\d.]+) fps",
        messages.split("\nOutput #0")[0],
        re.MULTILINE,
    )
    average = float(stated[1]) if stated else guessed
    if round(guessed, 2) == average:
        return guessed
    return NTSC.get(average, average)


def _damaged(path: Path, number: int) -> ConfinerError:
    return ConfinerError(
        f"{path} is damaged: after {number} frames it cannot be decoded any further", REENCODE
    )

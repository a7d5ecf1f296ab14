"""Other people's videos: what they are, and their frames at one constant rate and in one size."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from confiner_cli.errors import ConfinerError
from confiner_cli.media import ffmpeg
from confiner_cli.media.streams import Streams, streams_in

if TYPE_CHECKING:  # torch takes a second to import, and a look at a video does not need it
    from torch import Tensor

NTSC = {round(whole * 1000 / 1001, 2): whole * 1000 / 1001 for whole in (24, 30, 48, 60, 120, 240)}
"""Rates that are not what they are called: 29.97 is 30000/1001."""
NTSC_SLOWER = 0.0011
GIF_CLOCK = 0.01
"""Seconds: 8 frames a second are shown for 0.12 and 0.13 seconds by turns."""
CLOCK = 1000
"""A rate that is a file's clock (milliseconds) and not that of its frames."""
HINT = "structure.video= takes a video file, such as an MP4"
REENCODE = "copy the file once more, or encode it anew with a tool that can still read it"
CUT_SHORT = ("partial file", "File ended prematurely")
"""What ffmpeg says, without an error, of a file that ends between two frames before its time."""
SCALE = "lanczos+accurate_rnd+full_chroma_int"


@dataclass(frozen=True)
class SourceVideo:
    """A video file, as players show it.

    Attributes:
        path: the file.
        num_frames: how many frames it has at `fps`, at least 1.
        fps: frames a second; the average where the file's rate varies.
        size: `(height, width)` in square pixels, turned upright.
        sound: the codec of its first sound track; empty where it has none.
        start: when its first frame is shown, in seconds from the beginning of the file.
        losses: what of it its frames lack here, a line each.
    """

    path: Path
    num_frames: int
    fps: float
    size: tuple[int, int]
    sound: str = ""
    start: float = 0
    losses: tuple[str, ...] = ()


def probe(path: Path, hint: str = HINT) -> SourceVideo:
    """Look at a video and count its frames by decoding all of them.

    Args:
        path: a file of any kind that ffmpeg reads.
        hint: what to do where it is none.

    Raises:
        ConfinerError: there is no such file, it is no video or has no frames or no rate, or it is
            damaged.
        OSError: it may not be read.
    """
    if path.is_dir():
        raise ConfinerError(f"{path} is a folder", hint)
    if not path.is_file():
        raise ConfinerError(f"there is no file {path}", hint)
    path.open("rb").close()  # else ffmpeg says that it cannot be read, and not why
    fps, size, streams = _opened(path, hint)
    num_frames, ending = ffmpeg.count(path, "-vf", _constant(fps))
    if ending.status != 0 or any(sign in ending.messages for sign in CUT_SHORT):
        raise _damaged(path, num_frames)
    if num_frames == 0:
        raise ConfinerError(f"{path} has no frame that can be read", hint)
    losses = tuple(_losses(path, streams))
    start = _first_moment(path) if streams.sound else 0
    return SourceVideo(path, num_frames, fps, size, streams.sound, start, losses)


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
        if not source.path.is_file():
            raise ConfinerError(f"{source.path} is not there any more", "put it back") from error
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


def _losses(path: Path, streams: Streams) -> Iterator[str]:
    if streams.dynamic_range:
        yield (
            f"{path} has high dynamic range ({streams.dynamic_range}): it is not tone-mapped, so "
            "colours come out pale; convert it to BT.709 first where that matters"
        )
    elif streams.gamut:
        yield (
            f"{path} has a wide gamut ({streams.gamut}), which is taken for BT.709: colours come "
            "out paler; convert it first where that matters"
        )
    if streams.alpha_beside or (streams.may_have_alpha and _is_transparent(path)):
        yield f"{path} is transparent in places: its alpha is dropped, and colours below it show"


def _is_transparent(path: Path) -> bool:
    """Whether any pixel of any frame is not opaque."""
    darkest = "signalstats,metadata=mode=select:key=lavfi.signalstats.YMIN"
    shown = f"alphaextract,format=gray,{darkest}:value=254.5:function=less"
    found, _ = ffmpeg.count(path, "-vf", shown, "-frames:v", "1")
    return found > 0


def _first_moment(path: Path) -> float:
    """When the first frame is shown, in seconds from the beginning of the file."""
    ending = ffmpeg.run(
        *("-loglevel", "error", *ffmpeg.pictures_of(path), "-frames:v", "1"),
        *("-fps_mode", "passthrough", "-enc_time_base", "demux", "-f", "framecrc", "-"),
    )
    clock = re.search(rb"^#tb 0: (\d+)/(\d+)$", ending.output, re.MULTILINE)
    frame = re.search(rb"^0, *-?\d+, *(-?\d+),", ending.output, re.MULTILINE)
    if clock is None or frame is None:
        return 0
    return max(0, int(frame[1]) * int(clock[1]) / int(clock[2]))


def _opened(path: Path, hint: str) -> tuple[float, tuple[int, int], Streams]:
    """Frames a second, `(height, width)` in square pixels, and what ffmpeg says of the streams.

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
        raise ConfinerError(f"{path} {fault}", hint)
    width, height, frames, seconds, wide, high = map(int, head.groups())
    streams = streams_in(ending.messages)
    fps = _rate(streams.fps, frames / seconds, GIF_CLOCK if _is_gif(ending.messages) else 0)
    if not 0 < fps < CLOCK:
        raise ConfinerError(
            f"{path} does not say how many frames a second it has", "encode it at a constant rate"
        )
    if wide and high:  # 0:0 is not known, and taken for square
        width = round(width * wide / high)
    return fps, (height, width), streams


def _is_gif(messages: str) -> bool:
    return messages.startswith("Input #0, gif,")


def _rate(stated: float, guessed: float, clock: float) -> float:
    """The average rate; ffmpeg prints it with two decimals, the one it guesses is exact.

    Args:
        stated: what it prints, 0 where it prints none.
        guessed: the rate that it takes the file to be meant for, which a varying rate may not
            reach.
        clock: seconds to which the file rounds the times of frames.
    """
    average = stated or guessed
    if clock and abs(1 / guessed - 1 / average) < clock:
        whole = round(guessed)  # so coarse a clock does not tell 29.97 from 30
        return whole if math.isclose(whole, guessed, rel_tol=NTSC_SLOWER) else guessed
    if average.is_integer():
        return average
    if round(guessed, 2) == average:
        return guessed
    return NTSC.get(average, average)


def _damaged(path: Path, number: int) -> ConfinerError:
    return ConfinerError(
        f"{path} is damaged: after {number} frames it cannot be decoded any further", REENCODE
    )

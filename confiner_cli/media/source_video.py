"""Other people's videos: what they are, and their frames as a stream at one constant rate and in one size."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg

from confiner_cli.errors import ConfinerError

if TYPE_CHECKING:  # torch takes a second to import, and a look at a video does not need it
    from torch import Tensor

NTSC = {round(whole * 1000 / 1001, 2): whole * 1000 / 1001 for whole in (24, 30, 48, 60, 120, 240)}
"""Rates that are not what they are called: 29.97 is 30000/1001."""
CLOCK = 1000
"""A rate that is a file's clock (milliseconds) and not that of its frames."""
HINT = "structure.video= takes a video file, such as an MP4"
REENCODE = "copy the file once more, or encode it anew with a tool that can still read it"


@dataclass(frozen=True)
class Footage:
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


def footage_of(path: Path) -> Footage:
    """Look at a video and count its frames by decoding all of them, none of which is kept. Sound is ignored.

    Raises:
        ConfinerError: there is no such file, it is no video or has no frames or no rate, or it is damaged.
    """
    if not path.is_file():
        raise ConfinerError(
            f"{path} is a folder" if path.is_dir() else f"there is no file {path}", HINT
        )
    fps, size = _look(path)
    return Footage(path, _count(path, fps), fps, size)


def read_footage(footage: Footage, size: tuple[int, int], start: int = 0) -> Iterator[Tensor]:
    """Its frames from number `start` on, as they are decoded: scaled until they cover `size`, cropped in the middle.

    The frames before `start` are decoded, too: frame k has the same bits wherever the stream begins.

    Args:
        footage: what `footage_of` found.
        size: `(height, width)` of the frames that come.
        start: the first frame's number, from 0.

    Yields:
        uint8 `(height, width, 3)`, `footage.num_frames - start` of them, RGB.

    Raises:
        ConfinerError: the file has changed or is damaged; says which frame was reached.
    """
    import torch

    height, width = size
    filters = (
        f"{_constant(footage.fps)},select='gte(n,{start})',"
        f"scale=w='max({width},round({height}*dar))':h='max({height},round({width}/dar))'"
        f":flags=lanczos+accurate_rnd+full_chroma_int,format=rgb24,crop={width}:{height}"
    )
    command = _command(
        footage.path, "-vf", filters, "-fps_mode", "passthrough", "-f", "rawvideo", "-"
    )
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            for number in range(start, footage.num_frames):
                pixels = process.stdout.read(height * width * 3)
                if len(pixels) < height * width * 3:
                    raise _damaged(footage.path, number)
                yield torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(height, width, 3)
        finally:  # also where nobody wants more frames
            process.kill()


def _command(path: Path, *output: str) -> list[str]:
    """What runs ffmpeg on the first stream of pictures that is no cover; the first error ends it."""
    return [
        imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-xerror", "-i", f"file:{path}", "-map", "0:V:0",
        *output,
    ]  # fmt: skip


def _run(command: list[str]) -> tuple[int, bytes, str]:
    """Exit status, output and messages."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True, check=False
    )
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def _constant(fps: float) -> str:
    """The filter that makes a rate constant, the first frame at time 0: frames are repeated or left out."""
    return f"setpts=PTS-STARTPTS,fps={fps}"


def _look(path: Path) -> tuple[float, tuple[int, int]]:
    """Frames a second and `(height, width)`, from the first frame as YUV4MPEG, whose head states both."""
    command = _command(path, "-frames:v", "1", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-")
    _, output, messages = _run(command)
    head = re.match(rb"YUV4MPEG2 W(\d+) H(\d+) F(\d+):(\d+) I. A(\d+):(\d+)", output)
    if head is None:
        known = re.search(r"^ *Stream #0:", messages, re.MULTILINE)
        raise ConfinerError(
            f"{path} has no frame that can be read"
            if known
            else f"{path} is not a video that can be read",
            HINT,
        )
    width, height, rate, per, wide, high = map(int, head.groups())
    fps = _rate(messages, rate / per)
    if not 0 < fps < CLOCK:
        raise ConfinerError(
            f"{path} does not say how many frames a second it has", "encode it at a constant rate"
        )
    return fps, (height, round(width * wide / high) if wide and high else width)


def _rate(messages: str, guessed: float) -> float:
    """The average rate, which ffmpeg prints with two decimals; where that is the rate it guesses, the exact one.

    Args:
        messages: what ffmpeg says about a file that it opens.
        guessed: the rate that it takes the file to be meant for, which a varying rate may not reach.
    """
    stated = re.search(
        r"^ *Stream #0:.*: Video: (?!.*\(attached pic\)).*?, ([\d.]+) fps",
        messages.split("\nOutput #0")[0],
        re.MULTILINE,
    )
    average = float(stated[1]) if stated else guessed
    return guessed if round(guessed, 2) == average else NTSC.get(average, average)


def _count(path: Path, fps: float) -> int:
    status, output, _ = _run(
        _command(
            path, "-vf", _constant(fps), "-loglevel", "fatal", "-progress", "-", "-f", "null", "-"
        )
    )
    counts = re.findall(rb"^frame=(\d+)", output, re.MULTILINE)
    count = int(counts[-1]) if counts else 0
    if status != 0:
        raise _damaged(path, count)
    if count == 0:
        raise ConfinerError(f"{path} has no frame that can be read", HINT)
    return count


def _damaged(path: Path, number: int) -> ConfinerError:
    return ConfinerError(
        f"{path} is damaged: after {number} frames it cannot be decoded any further", REENCODE
    )

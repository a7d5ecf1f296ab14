"""The ffmpeg that comes with imageio-ffmpeg. Nothing else starts it, reads it or feeds it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import imageio_ffmpeg

from confiner_cli.errors import ConfinerError

if TYPE_CHECKING:  # torch takes a second to import, and a look at a video does not need it
    from torch import Tensor


class DecodingError(Exception):
    """A video cannot be decoded to its end; says why, in ffmpeg's words."""


@dataclass(frozen=True)
class Ending:
    """How ffmpeg ended.

    Attributes:
        status: its exit status, 0 where it did all that it was asked for.
        messages: what it said, on its standard error.
        output: what it wrote to its standard output.
    """

    status: int
    messages: str
    output: bytes = b""

    @property
    def reason(self) -> str:
        """The last thing that it said, or its exit status where it said nothing."""
        lines = self.messages.strip().splitlines()
        return lines[-1] if lines else f"exit status {self.status}"


def run(*arguments: str) -> Ending:
    """Call ffmpeg and wait for it."""
    done = subprocess.run(
        _command(*arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        check=False,
    )
    return Ending(done.returncode, done.stderr.decode(errors="replace"), done.stdout)


def pictures_of(path: Path) -> tuple[str, ...]:
    """The arguments that open a file's first stream of pictures, which is not a cover.

    The first error in it ends ffmpeg, which else would show something in its place.
    """
    return "-xerror", "-i", f"file:{path}", "-map", "0:V:0"


def count(path: Path, *options: str) -> tuple[int, Ending]:
    """Count frames and keep none of them.

    Args:
        path: a video.
        options: what becomes of the frames before they are counted.

    Returns:
        How many there were up to the end or the first error, and how ffmpeg ended.
    """
    ending = run(
        *("-loglevel", "error", *pictures_of(path), *options),
        *("-progress", "-", "-f", "null", "-"),
    )
    counts = re.findall(rb"^frame=(\d+)", ending.output, re.MULTILINE)
    return int(counts[-1]) if counts else 0, ending


def count_stored(path: Path) -> int:
    """Count the frames that a file has, without decoding them; up to the first error."""
    # Not `count` with `-c copy`: ffmpeg 7 says nothing of frames that it only copies.
    ending = run(
        *("-loglevel", "error", *pictures_of(path)), *("-c", "copy", "-f", "framecrc", "-")
    )
    return sum(not line.startswith(b"#") for line in ending.output.splitlines())


def decode(path: Path, *options: str, threads: int = 0) -> Generator[Tensor]:
    """The frames of a video, as they are decoded; none is repeated or left out.

    ffmpeg runs until the last frame is read, or the generator is closed.

    Args:
        path: a video.
        options: what becomes of the frames, such as `-vf` and filters.
        threads: that decode; 0 is as many as ffmpeg sees fit.

    Yields:
        uint8 `(height, width, 3)`, RGB.

    Raises:
        DecodingError: after the frames that came before the error.
    """
    import torch

    arguments = _command(
        *("-loglevel", "error", "-threads", str(threads), *pictures_of(path), *options),
        *("-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"),
    )
    with tempfile.TemporaryFile() as messages:
        with _process(arguments, messages, subprocess.DEVNULL, subprocess.PIPE) as process:
            assert process.stdout is not None
            while process.stdout.readline():  # PPM: P6, width and height, 255, the pixels
                width, height = map(int, process.stdout.readline().split())
                process.stdout.readline()
                pixels = bytearray(process.stdout.read(height * width * 3))
                if len(pixels) < height * width * 3:
                    break  # it died in the middle of a frame
                yield torch.frombuffer(pixels, dtype=torch.uint8).view(height, width, 3)
        ending = _ending(process, messages)
    if ending.status != 0:
        raise DecodingError(ending.reason)


def encode(
    frames: Iterable[Tensor], size: tuple[int, int], fps: float, *output: str
) -> tuple[int, Ending]:
    """Feed frames to ffmpeg as they come. It is started before the first is there.

    Args:
        frames: uint8 `(height, width, 3)`, RGB. What they raise ends ffmpeg.
        size: `(height, width)` of all of them.
        fps: frames a second.
        output: options of the encoder, and the file that it writes.

    Returns:
        How many frames there were, and how ffmpeg ended.
    """
    height, width = size
    arguments = _command(
        *("-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"),
        *("-s", f"{width}x{height}", "-r", str(fps), "-i", "-", *output),
    )
    number = 0
    with tempfile.TemporaryFile() as messages:
        with _process(arguments, messages, subprocess.PIPE) as process:
            assert process.stdin is not None
            for number, frame in enumerate(frames, start=1):
                assert frame.shape == (height, width, 3), f"frame {number}: {tuple(frame.shape)}"
                with suppress(BrokenPipeError):  # the exit status says why
                    process.stdin.write(frame.contiguous().numpy().tobytes())
        return number, _ending(process, messages)


def _command(*arguments: str) -> list[str]:
    """The words that call ffmpeg.

    Raises:
        ConfinerError: there is none.
    """
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise ConfinerError(
            "there is no ffmpeg: imageio-ffmpeg came without one for this machine",
            "install ffmpeg and set IMAGEIO_FFMPEG_EXE to its path",
        ) from error
    if not shutil.which(program):
        raise ConfinerError(
            f"IMAGEIO_FFMPEG_EXE={program} is no program that can be started",
            "unset it, or set it to the path of ffmpeg",
        )
    return [program, "-hide_banner", "-nostats", *arguments]


@contextmanager
def _process(
    command: list[str], messages: IO[bytes], stdin: int, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Ffmpeg at work on a stream. An error in the body ends it; without one it is waited for."""
    # Messages go to a file: a pipe that nobody reads fills up, and ffmpeg waits for ever.
    # A session of its own: Ctrl-C is ours to handle.
    process = subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=messages, start_new_session=True
    )
    try:
        yield process
    except BaseException:  # a reader that wants no more frames is one, too
        process.kill()
        raise
    finally:
        process.communicate()


def _ending(process: subprocess.Popen[bytes], messages: IO[bytes]) -> Ending:
    messages.seek(0)
    return Ending(process.returncode, messages.read().decode(errors="replace"))

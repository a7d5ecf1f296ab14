"""MP4 files: whole or not at all. The only module that knows ffmpeg (the one that comes with imageio-ffmpeg)."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import imageio_ffmpeg

from confiner_cli.errors import DISK_FULL, ConfinerError, FailedError
from confiner_cli.files import atomic_write, temporary_beside

if TYPE_CHECKING:  # torch takes a second to import, and reading a comment does not need it
    from torch import Tensor

CRF = "16"
_BT709 = "colorspace=bt709:color_primaries=bt709:color_trc=bt709"
_FILTER = f"scale=out_color_matrix=bt709:out_range=tv,setparams=range=tv:{_BT709}"


def write_video(
    path: Path,
    frames: Iterable[Tensor],
    size: tuple[int, int],
    fps: float,
    comment: str | None = None,
) -> None:
    """Encode frames as they come; at the end check the file by decoding it, then give it its name.

    H.264, yuv420p, tagged BT.709, index first. Until the last frame is verified nothing exists under `path`.

    Args:
        path: where the file goes; an existing file is replaced.
        frames: uint8, `(height, width, 3)` each. The encoder starts before the first is there.
        size: `(height, width)`, even numbers.
        fps: frames a second.
        comment: text for the file's `comment` tag.

    Raises:
        ConfinerError: the disk is full.
        FailedError: the encoder failed, what it wrote does not decode to the same frames, or there was no frame.
    """
    with atomic_write(path) as temporary, tempfile.TemporaryFile() as messages:
        with _encoder(temporary, size, fps, comment, messages) as process:
            count = _feed(process, frames, (*size, 3))
            if count == 0:
                raise FailedError(
                    f"no frame to write into {path.name}", "a video has at least one frame"
                )
        if process.returncode != 0:
            messages.seek(0)
            raise _encoder_error(path, process.returncode, messages.read().decode(errors="replace"))
        verify(temporary, count, size)


def join_videos(
    path: Path,
    parts: Sequence[Path],
    num_frames: int,
    size: tuple[int, int],
    comment: str | None = None,
) -> None:
    """Put videos of `write_video` behind each other without encoding them again; verified and named as there.

    Args:
        path: where the file goes; an existing file is replaced.
        parts: the files in order, of one size and rate.
        num_frames: how many frames the file has; what the parts have beyond them is left out.
        size: `(height, width)`.
        comment: text for the file's `comment` tag.

    Raises:
        ConfinerError: the disk is full.
        FailedError: ffmpeg failed, or the file does not decode to so many frames.
    """
    tags = [] if comment is None else ["-metadata", f"comment={comment}"]
    with (
        atomic_write(path) as temporary,
        temporary_beside(path.with_suffix(".txt")) as listing,
    ):
        names = (str(part.absolute()).replace("'", r"'\''") for part in parts)
        listing.write_text("".join(f"file '{name}'\n" for name in names), encoding="utf-8")
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "concat", "-safe", "0", "-i",
            str(listing), "-c", "copy", "-frames:v", str(num_frames), "-movflags", "+faststart", *tags, str(temporary),
        ]  # fmt: skip
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            check=False,
        )
        if done.returncode != 0:
            raise _encoder_error(path, done.returncode, done.stderr.decode(errors="replace"))
        verify(temporary, num_frames, size)


def _feed(
    process: subprocess.Popen[bytes], frames: Iterable[Tensor], shape: tuple[int, ...]
) -> int:
    assert process.stdin is not None
    count = 0
    for count, frame in enumerate(frames, start=1):
        assert frame.shape == shape, f"frame {count} is {tuple(frame.shape)}, not {shape}"
        with suppress(BrokenPipeError):  # the exit status says why
            process.stdin.write(frame.contiguous().numpy().tobytes())
    return count


@contextmanager
def _encoder(
    path: Path, size: tuple[int, int], fps: float, comment: str | None, messages: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for frames; ended by an error in the body, else waited for."""
    tags = [] if comment is None else ["-metadata", f"comment={comment}"]
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-s", f"{size[1]}x{size[0]}", "-r", str(fps), "-i", "-", "-an", "-c:v", "libx264", "-crf", CRF,
        "-bf", "0", "-pix_fmt", "yuv420p", "-vf", _FILTER, "-movflags", "+faststart", *tags, str(path),
    ]  # fmt: skip
    # No frame refers to a later one (-bf 0): parts follow each other in a joined file without a gap or a shift.
    # A session of its own: Ctrl-C is ours to handle.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=messages, start_new_session=True
    )
    try:
        yield process
        with suppress(BrokenPipeError):
            process.communicate()
    except BaseException:
        process.kill()
        process.communicate()
        raise


def _encoder_error(path: Path, status: int, messages: str) -> ConfinerError:
    reason = messages.strip().splitlines()[-1] if messages.strip() else f"exit status {status}"
    if any(sign in messages for sign in DISK_FULL) or status == -signal.SIGXFSZ:
        return ConfinerError(
            f"no room to write {path.name} in {path.parent}: {reason}",
            "free some space, or set output.dir= to another disk",
        )
    return FailedError(
        f"ffmpeg could not write {path.name} in {path.parent}: {reason}", "is the folder writable?"
    )


def verify(path: Path, count: int, size: tuple[int, int]) -> None:
    """Decode the whole file. Raises FailedError unless it has `count` frames of `(height, width)`."""
    found, sizes = 0, set()
    try:
        for found_size, _ in _decoded(path):
            found += 1
            sizes.add(found_size)
    except ValueError as error:
        raise FailedError(
            f"{path.name} does not decode after writing: {error}", "is the disk full or failing?"
        ) from error
    if (found, sizes) != (count, {size}):
        raise FailedError(
            f"{path.name} decodes to {found} frames of {sizes} instead of {count} of {size}",
            "is the disk full or failing?",
        )


def read_video(path: Path) -> Tensor:
    """All frames of a video, uint8 `(frame, height, width, 3)`. Raises ConfinerError where it does not decode."""
    import torch

    try:
        frames = [_tensor(size, pixels) for size, pixels in _decoded(path)]
    except ValueError as error:
        raise ConfinerError(
            f"{path} is not a video that can be read", "name an MP4 file"
        ) from error
    return torch.stack(frames)


def read_frames(path: Path, numbers: Sequence[int]) -> list[Tensor]:
    """Some frames of a video, uint8 `(height, width, 3)`, without holding the others."""
    return [
        _tensor(size, pixels)
        for number, (size, pixels) in enumerate(_decoded(path))
        if number in numbers
    ]


def _tensor(size: tuple[int, int], pixels: bytes) -> Tensor:
    import torch

    return torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(*size, 3)


def _decoded(path: Path) -> Iterator[tuple[tuple[int, int], bytes]]:
    """`(height, width)` and RGB bytes of each frame. Raises ValueError where ffmpeg cannot decode the file."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path), "-fps_mode", "passthrough",
        "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-",
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline():  # a PPM picture: P6, width and height, 255, pixels
            width, height = map(int, process.stdout.readline().split())
            process.stdout.readline()
            yield (height, width), process.stdout.read(width * height * 3)
    if process.returncode != 0:
        raise ValueError(f"ffmpeg ends with status {process.returncode}")


def read_comment(path: Path) -> str | None:
    """The `comment` tag of a video file, or None. Raises ConfinerError where the file is no video."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-loglevel",
        "error",
        "-i",
        str(path),
        "-f",
        "ffmetadata",
        "-",
    ]
    result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if result.returncode != 0:
        raise ConfinerError(
            f"{path} is not a video that can be read", "name an MP4 file or a run folder"
        )
    escaped = re.search(
        r"^comment=((?:\\.|[^\\\n])*)",
        result.stdout.decode(errors="replace"),
        re.MULTILINE | re.DOTALL,
    )
    return re.sub(r"\\(.)", r"\1", escaped[1], flags=re.DOTALL) if escaped else None

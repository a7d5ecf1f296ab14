"""Our MP4 files: H.264 whose frames are the ones that were meant; whole, or not there at all."""

from __future__ import annotations

import signal
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from confiner_cli.errors import DISK_FULL, ConfinerError, FailedError
from confiner_cli.files import atomic_write, temporary_beside
from confiner_cli.media import ffmpeg
from confiner_cli.media.comments import comment_in, metadata_file

if TYPE_CHECKING:  # torch takes a second to import, and reading a comment does not need it
    from torch import Tensor

CRF = "16"
COLOURS = "colorspace=bt709:color_primaries=bt709:color_trc=bt709"
FILTERS = f"scale=out_color_matrix=bt709:out_range=tv,setparams=range=tv:{COLOURS}"
ENCODER = ("-c:v", "libx264", "-crf", CRF, "-pix_fmt", "yuv420p", "-vf", FILTERS)
# No frame refers to a later one: chunks follow each other in a joined file without gap or shift.
NO_B_FRAMES = ("-bf", "0")
INDEX_FIRST = ("-movflags", "+faststart")
DISK = "is the disk full or failing?"


def write_video(
    path: Path,
    frames: Iterable[Tensor],
    size: tuple[int, int],
    fps: float,
    comment: str | None = None,
) -> None:
    """Encode frames as they come; at the end check the file by decoding it, then give it its name.

    H.264, yuv420p, tagged BT.709, index first. Until it is verified nothing exists under `path`.

    Args:
        path: where the file goes; an existing file is replaced.
        frames: uint8, `(height, width, 3)` each. The encoder starts before the first is there.
        size: `(height, width)`, even numbers.
        fps: frames a second.
        comment: text for the file's `comment` tag.

    Raises:
        ConfinerError: the disk is full.
        FailedError: the encoder failed, what it wrote does not decode to as many frames, or there
            was no frame.
    """
    with atomic_write(path) as temporary:
        count = _encode(path, temporary, frames, size, fps, comment)
        verify(temporary, count, size)


def encode_chunk(path: Path, frames: Iterable[Tensor], size: tuple[int, int], fps: float) -> None:
    """Encode frames as `write_video` does, for `join_chunks`, which is going to decode them.

    So that no frame is decoded twice, this only counts the frames in the file. Arguments and errors
    are those of `write_video`.
    """
    with atomic_write(path) as temporary:
        count = _encode(path, temporary, frames, size, fps, comment=None)
        found, _ = ffmpeg.count(temporary, "-c", "copy")
        if found != count:
            raise FailedError(f"{path.name} has {found} frames instead of {count}", DISK)


def join_chunks(
    path: Path,
    chunks: Sequence[Path],
    num_frames: int,
    size: tuple[int, int],
    comment: str | None = None,
    pick: Container[int] = (),
) -> list[Tensor]:
    """Put chunks behind each other without encoding them again; decode the file once, to verify it.

    Args:
        path: where the file goes; an existing file is replaced.
        chunks: files of `encode_chunk` in order, of one size and rate.
        num_frames: how many frames the file has; what the chunks have beyond them is left out.
        size: `(height, width)`.
        comment: text for the file's `comment` tag.
        pick: numbers of the frames to return, from 0.

    Returns:
        The picked frames, in their order, as the file decodes: uint8 `(height, width, 3)`.

    Raises:
        ConfinerError: the disk is full.
        FailedError: ffmpeg failed, or the file does not decode to so many frames.
    """
    with (
        atomic_write(path) as temporary,
        temporary_beside(path.with_suffix(".txt")) as listing,
        _beside(path, comment) as arguments,
    ):
        names = [str(chunk.absolute()).replace("'", r"'\''") for chunk in chunks]
        listing.write_text("".join(f"file '{name}'\n" for name in names), encoding="utf-8")
        ending = ffmpeg.run(
            *("-y", "-loglevel", "error", "-f", "concat", "-safe", "0", "-i", f"file:{listing}"),
            *(*arguments, "-c", "copy", "-frames:v", str(num_frames), *INDEX_FIRST),
            f"file:{temporary}",
        )
        if ending.status != 0:
            raise _error(path, ending)
        return verify(temporary, num_frames, size, pick)


def verify(
    path: Path, count: int, size: tuple[int, int], pick: Container[int] = ()
) -> list[Tensor]:
    """Decode the whole file, and return the frames whose numbers, from 0, are in `pick`.

    Raises:
        FailedError: it does not have `count` frames of `(height, width)`.
    """
    found = 0
    kept = []
    try:
        with closing(ffmpeg.decode(path)) as frames:
            for number, frame in enumerate(frames):
                _check_size(path, frame, size)
                if number in pick:
                    kept.append(frame)
                found += 1
    except ffmpeg.DecodingError as error:
        raise FailedError(f"{path.name} does not decode after writing: {error}", DISK) from error
    if found != count:
        raise FailedError(f"{path.name} decodes to {found} frames instead of {count}", DISK)
    return kept


def read_video(path: Path) -> Tensor:
    """All frames of a video, uint8 `(frame, height, width, 3)`.

    Raises:
        ConfinerError: it does not decode.
    """
    import torch

    try:
        return torch.stack(list(ffmpeg.decode(path)))
    except ffmpeg.DecodingError as error:
        raise ConfinerError(
            f"{path} is not a video that can be read", "name an MP4 file"
        ) from error


def read_comment(path: Path) -> str | None:
    """The comment of a video file, or None: also of one that was remuxed to MKV, MOV or WebM.

    Raises:
        ConfinerError: the file is no video.
    """
    ending = ffmpeg.run("-loglevel", "error", "-i", f"file:{path}", "-f", "ffmetadata", "-")
    if ending.status != 0:
        raise ConfinerError(
            f"{path} is not a video that can be read", "name a video file or a run folder"
        )
    return comment_in(ending.output.decode(errors="replace"))


def _encode(
    path: Path,
    temporary: Path,
    frames: Iterable[Tensor],
    size: tuple[int, int],
    fps: float,
    comment: str | None,
) -> int:
    """Encode into the temporary file of `path`. Returns the number of frames."""
    options = (*ENCODER, *NO_B_FRAMES, *INDEX_FIRST)
    with _beside(path, comment) as arguments:
        count, ending = ffmpeg.encode(frames, size, fps, *arguments, *options, f"file:{temporary}")
    if count == 0:
        raise FailedError(f"no frame to write into {path.name}", "a video has at least one frame")
    if ending.status != 0:
        raise _error(path, ending)
    return count


def _check_size(path: Path, frame: Tensor, size: tuple[int, int]) -> None:
    found = tuple(frame.shape[:2])
    if found != size:
        raise FailedError(f"{path.name} decodes to frames of {found} instead of {size}", DISK)


@contextmanager
def _beside(path: Path, comment: str | None) -> Iterator[tuple[str, ...]]:
    """What tells ffmpeg of all that a file has beside its pictures, which are the first input."""
    with metadata_file(path, comment) as described:
        options = ("-map_metadata", "1") if described else ()
        yield (*described, "-map", "0:v:0", *options)


def _error(path: Path, ending: ffmpeg.Ending) -> ConfinerError:
    """What to say where ffmpeg could not write a file."""
    file = f"{path.name} in {path.parent}"
    full = any(sign in ending.messages for sign in DISK_FULL)
    if full or ending.status == -signal.SIGXFSZ:  # the signal: the file may grow no further
        return ConfinerError(
            f"no room to write {file}: {ending.reason}",
            "free some space, or set output.dir= to another disk",
        )
    return FailedError(f"ffmpeg could not write {file}: {ending.reason}", "is the folder writable?")

"""Our video files: with the frames that were meant, whole, or not there at all."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.files import atomic_write, temporary_beside
from confiner_cli.media import ffmpeg
from confiner_cli.media.comments import comment_in, metadata_file
from confiner_cli.media.formats import GIF, INDEX_FIRST, MP4, Format, check_rate, format_of
from confiner_cli.media.picture_comments import read_picture_comment, write_picture_comment
from confiner_cli.media.sound import Sound
from confiner_cli.media.write_errors import check_place, write_error

if TYPE_CHECKING:  # torch takes a second to import, and reading a comment does not need it
    from torch import Tensor

PNG = ("-f", "image2pipe", "-c:v", "png")
# Colours are counted in steps of 4: of a noisy video that bounds their number, and so the time (a
# second a frame else) and the memory.
PALETTE = "lutrgb=r=round(val/4)*4:g=round(val/4)*4:b=round(val/4)*4,palettegen"
WITH_PALETTE = ("-lavfi", "paletteuse")
DISK = "is the disk full or failing?"


def write_video(
    path: Path,
    frames: Iterable[Tensor],
    size: tuple[int, int],
    fps: float,
    comment: str | None = None,
    sound: Sound | None = None,
    pick: Container[int] = (),
) -> list[Tensor]:
    """Encode frames as they come; at the end check the file by decoding it, then give it its name.

    The name's end chooses the format (`formats.FORMATS`). MP4 is H.264, yuv420p, tagged BT.709,
    index first. Until it is verified nothing exists under `path`.

    Args:
        path: where the file goes; an existing file is replaced.
        frames: uint8, `(height, width, 3)` each. The encoder starts before the first is there.
        size: `(height, width)`, even numbers.
        fps: frames a second.
        comment: text for the file's `comment` tag.
        sound: what is heard, where the format holds sound.
        pick: numbers of the frames to return, from 0.

    Returns:
        The picked frames, in their order, as the file decodes: uint8 `(height, width, 3)`.

    Raises:
        ConfinerError: the disk is full, or no such file can be written there.
        FailedError: the encoder failed, what it wrote does not decode to as many frames, or there
            was no frame.
    """
    kind = format_of(path)
    check_rate(kind, fps)
    check_place(path)
    if kind is MP4:
        options = (*kind.chunk, *INDEX_FIRST)
        with atomic_write(path) as temporary, _beside(path, comment, sound) as arguments:
            count = _encode(path, temporary, frames, size, fps, *arguments, *options)
            return verify(temporary, count, size, pick)
    with temporary_beside(path.with_suffix(".mp4")) as chunk:
        count = _encode(path, chunk, frames, size, fps, *kind.chunk)
        return join_chunks(path, [chunk], count, size, comment, sound, pick)


def encode_chunk(
    path: Path, frames: Iterable[Tensor], size: tuple[int, int], fps: float, kind: Format = MP4
) -> None:
    """Encode frames for `join_chunks`, which is going to decode them.

    So that no frame is decoded twice, this only counts the frames in the file. Errors are those of
    `write_video`.

    Args:
        path: an MP4, whatever the joined file is going to be.
        frames: uint8, `(height, width, 3)` each.
        size: `(height, width)`, even numbers.
        fps: frames a second.
        kind: of the joined file. Where it is encoded once more, nothing is lost here.
    """
    with atomic_write(path) as temporary:
        count = _encode(path, temporary, frames, size, fps, *kind.chunk)
        found = ffmpeg.count_stored(temporary)
        if found != count:
            raise FailedError(f"{path.name} has {found} frames instead of {count}", DISK)


def join_chunks(
    path: Path,
    chunks: Sequence[Path],
    num_frames: int,
    size: tuple[int, int],
    comment: str | None = None,
    sound: Sound | None = None,
    pick: Container[int] = (),
) -> list[Tensor]:
    """Put chunks behind each other; decode the file once, to verify it.

    MP4 is not encoded again. Memory does not grow with the length.

    Args:
        path: where the file goes; an existing file is replaced. Its name's end is the format that
            the chunks were encoded for.
        chunks: files of `encode_chunk` in order, of one size and rate.
        num_frames: how many frames the file has; what the chunks have beyond them is left out.
        size: `(height, width)`.
        comment: text for the file's `comment` tag.
        sound: what is heard, where the format holds sound.
        pick: numbers of the frames to return, from 0.

    Returns:
        The picked frames, in their order, as the file decodes: uint8 `(height, width, 3)`.

    Raises:
        ConfinerError: the disk is full.
        FailedError: ffmpeg failed, or the file does not decode to so many frames.
    """
    kind = format_of(path)
    with atomic_write(path) as temporary, _listed(path, chunks) as pictures:
        if kind.is_picture:
            _join_picture(path, temporary, kind, pictures, num_frames)
            if comment is not None:
                write_picture_comment(temporary, kind.name, comment)
        else:
            with _beside(path, comment, sound) as others:
                length = ("-frames:v", str(num_frames))
                _run(path, *pictures, *others, *kind.joined, *length, f"file:{temporary}")
        return verify(temporary, num_frames, size, pick)


def verify(
    path: Path, count: int, size: tuple[int, int], pick: Container[int] = ()
) -> list[Tensor]:
    """Decode the whole file, and return the frames whose numbers, from 0, are in `pick`.

    In one thread: more of them take longer to start than a short video takes to decode, and they
    would take the processor from the networks.

    Raises:
        FailedError: it does not have `count` frames of `(height, width)`.
    """
    found = 0
    kept = []
    try:
        with closing(ffmpeg.decode(path, threads=1)) as frames:
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
            f"{path} is not a video that can be read: {error}", "name a video file"
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
    comment = comment_in(ending.output.decode(errors="replace"))
    return read_picture_comment(path) if comment is None else comment


def _encode(
    path: Path,
    temporary: Path,
    frames: Iterable[Tensor],
    size: tuple[int, int],
    fps: float,
    *options: str,
) -> int:
    """Encode into the temporary file of `path`. Returns the number of frames."""
    count, ending = ffmpeg.encode(frames, size, fps, *options, f"file:{temporary}")
    if count == 0:
        raise FailedError(f"no frame to write into {path.name}", "a video has at least one frame")
    if ending.status != 0:
        raise write_error(path, ending)
    return count


@contextmanager
def _listed(path: Path, chunks: Sequence[Path]) -> Iterator[tuple[str, ...]]:
    """The arguments that give ffmpeg the frames of chunks, one after another, as one input."""
    with temporary_beside(path.with_suffix(".txt")) as listing:
        names = [str(chunk.absolute()).replace("'", r"'\''") for chunk in chunks]
        listing.write_text("".join(f"file '{name}'\n" for name in names), encoding="utf-8")
        yield ("-f", "concat", "-safe", "0", "-i", f"file:{listing}")


@contextmanager
def _beside(path: Path, comment: str | None, sound: Sound | None) -> Iterator[tuple[str, ...]]:
    """What tells ffmpeg of all that a file has beside its pictures, which are the first input."""
    with metadata_file(path, comment) as described:
        inputs, options = list(described), ["-map", "0:v:0", "-map_chapters", "-1"]
        if described:
            options += ["-map_metadata", "1"]
        if sound is not None:
            inputs += sound.input
            options += ["-map", "2:a:0" if described else "1:a:0", "-c:a", "copy"]
        yield (*inputs, *options)


def _join_picture(
    path: Path, temporary: Path, kind: Format, pictures: Sequence[str], num_frames: int
) -> None:
    """Encode joined chunks as a picture that moves. A GIF has one palette, of all of its frames."""
    target = (*kind.joined, "-frames:v", str(num_frames), f"file:{temporary}")
    if kind is not GIF:
        _run(path, *pictures, *target)
        return
    # Twice over the frames: in one go ffmpeg would keep all of them until it has the palette.
    with temporary_beside(path.with_suffix(".palette")) as palette:
        chosen = f"trim=end_frame={num_frames},{PALETTE}"
        _run(path, *pictures, "-vf", chosen, *PNG, f"file:{palette}")
        _run(path, *pictures, "-f", "png_pipe", "-i", f"file:{palette}", *WITH_PALETTE, *target)


def _run(path: Path, *arguments: str) -> None:
    """Have ffmpeg write a file on the way to `path`."""
    ending = ffmpeg.run("-y", "-loglevel", "error", *arguments)
    if ending.status != 0:
        raise write_error(path, ending)


def _check_size(path: Path, frame: Tensor, size: tuple[int, int]) -> None:
    found = tuple(frame.shape[:2])
    if found != size:
        raise FailedError(f"{path.name} decodes to frames of {found} instead of {size}", DISK)

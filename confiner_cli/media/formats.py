"""The kinds of files that a video can be, and what ffmpeg is told to make each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confiner_cli.errors import ConfinerError

_COLOURS = "colorspace=bt709:color_primaries=bt709:color_trc=bt709"
_BT709 = f"scale=out_color_matrix=bt709:out_range=tv,setparams=range=tv:{_COLOURS}"
_YUV420 = ("-pix_fmt", "yuv420p", "-vf", _BT709)
# No frame refers to a later one: chunks follow each other in a joined file without gap or shift.
_NO_B_FRAMES = ("-bf", "0")
H264 = ("-c:v", "libx264", "-crf", "16", *_YUV420, *_NO_B_FRAMES)
LOSSLESS_H264 = ("-c:v", "libx264rgb", "-qp", "0", *_NO_B_FRAMES)
"""RGB, not all players show it: what is encoded once more has lost nothing before."""


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        name: as `output.format=` has it, and the usual suffix.
        title: what people call such a file.
        suffixes: all that names of such files end with.
        chunk: options of the encoder for parts of a video that are going to be joined.
        joined: what becomes of such parts in the whole.
        most_fps: players show frames that follow faster much slower.
        holds_sound: whether there can be sound in it.
        is_picture: whether it is a picture that moves, and no video to browsers and to ffmpeg.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    chunk: tuple[str, ...]
    joined: tuple[str, ...]
    most_fps: float = 240
    holds_sound: bool = False
    is_picture: bool = False


INDEX_FIRST = ("-movflags", "+faststart", "-f", "mp4")

MP4 = Format("mp4", "an MP4", (".mp4",), H264, ("-c:v", "copy", *INDEX_FIRST), holds_sound=True)
WEBM = Format(
    "webm", "a WebM", (".webm",), LOSSLESS_H264,
    ("-c:v", "libvpx-vp9", "-crf", "16", "-b:v", "0", "-cpu-used", "2", "-row-mt", "1", *_YUV420,
     "-cues_to_front", "1", "-f", "webm"),
    holds_sound=True,
)  # fmt: skip
GIF = Format(
    "gif", "a GIF", (".gif",), LOSSLESS_H264, ("-loop", "0", "-f", "gif"),
    most_fps=50, is_picture=True,
)  # fmt: skip
APNG = Format(
    "apng", "an APNG", (".apng", ".png"), LOSSLESS_H264,
    ("-c:v", "apng", "-pix_fmt", "rgb24", "-plays", "0", "-f", "apng"),
    most_fps=90, is_picture=True,
)  # fmt: skip
WEBP = Format(
    "webp", "a WebP", (".webp",), LOSSLESS_H264,
    # Not libwebp_anim, which keeps the whole file in memory and makes one frame of equal ones.
    ("-c:v", "libwebp", "-lossless", "1", "-pix_fmt", "bgra", "-loop", "0", "-f", "webp"),
    most_fps=90, is_picture=True,
)  # fmt: skip
FORMATS: Mapping[str, Format] = {each.name: each for each in (MP4, GIF, WEBM, APNG, WEBP)}


def format_of(path: Path) -> Format:
    """The format that a file's name ends with.

    Raises:
        ConfinerError: it ends with none of them.
    """
    for each in FORMATS.values():
        if path.suffix.lower() in each.suffixes:
            return each
    suffixes = [suffix for each in FORMATS.values() for suffix in each.suffixes]
    raise ConfinerError(
        f"{path.name} does not end with a format that can be written",
        f"name it {path.stem or 'video'}.mp4; there are {', '.join(suffixes)}",
    )


def check_rate(kind: Format, fps: float) -> None:
    """Refuse a rate that players do not show.

    Raises:
        ConfinerError: there are too many frames a second.
    """
    if fps > kind.most_fps:
        raise ConfinerError(
            f"{kind.title} of {fps:g} frames a second plays slower: {kind.most_fps:g} are the most",
            f"fps={kind.most_fps:g} or less, or output.format=webm or mp4",
        )

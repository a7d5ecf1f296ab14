"""Why a video cannot be written, and what to do about it."""

from __future__ import annotations

import signal
from pathlib import Path

from confiner_cli.errors import DISK_FULL, ConfinerError, FailedError
from confiner_cli.media import ffmpeg

CURES = {
    "Permission denied": "name a folder that you can write to",
    "Read-only file system": "name a folder that you can write to",
    "No such file or directory": "is the folder still there? name one that is",
    "Encoder not found": "unset IMAGEIO_FFMPEG_EXE: the ffmpeg of imageio-ffmpeg has all encoders",
    "Unknown encoder": "unset IMAGEIO_FFMPEG_EXE: the ffmpeg of imageio-ffmpeg has all encoders",
}
"""What to do where ffmpeg says this of a file that it is to write."""


def check_place(path: Path) -> None:
    """Refuse a path that no file can be written to, before frames are encoded.

    Raises:
        ConfinerError: its folder is not there, or it is a folder itself.
    """
    if not path.parent.is_dir():
        raise ConfinerError(f"there is no folder {path.parent}", "make it, or name another one")
    if path.is_dir():
        raise ConfinerError(f"{path} is a folder", "name a file in it")


def write_error(path: Path, ending: ffmpeg.Ending) -> ConfinerError:
    """What to say where ffmpeg could not write a file: the disk, the place, or our own failure."""
    file = f"{path.name} in {path.parent}"
    full = any(sign in ending.messages for sign in DISK_FULL)
    if full or ending.status == -signal.SIGXFSZ:  # the signal: the file may grow no further
        return ConfinerError(
            f"no room to write {file}: {ending.reason}",
            "free some space, or name a place on another disk (a run's is output.dir=)",
        )
    message = f"ffmpeg could not write {file}: {ending.reason}"
    for sign, hint in CURES.items():
        if sign in ending.messages:
            return ConfinerError(message, hint)
    return FailedError(message, "this is our failure: what ffmpeg says may help to report it")

"""Files of other people's cameras and tools, made by ffmpeg."""

import subprocess
from pathlib import Path

import imageio_ffmpeg


def ffmpeg(*arguments: object) -> None:
    """Have ffmpeg write a file, which replaces another one."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y"]
    subprocess.run([*command, *map(str, arguments)], stdin=subprocess.DEVNULL, check=True)


def remuxed(path: Path, suffix: str, *options: str) -> Path:
    """A copy in another container, as a person makes it."""
    target = path.with_suffix(suffix)
    ffmpeg("-i", path, "-c", "copy", *options, target)
    return target


def filmed(path: Path, *options: str, fps: str = "8", seconds: float = 3, tone: float = 0) -> Path:
    """A moving test picture of 48 x 32, with a tone from `tone` seconds on.

    Args:
        path: whose suffix chooses the container and its usual codecs.
        options: of the encoders.
        fps: frames a second.
        seconds: how long it is.
        tone: when the sound begins to be heard.
    """
    picture = f"testsrc2=s=48x32:r={fps}:d={seconds}"
    sound = f"sine=f=440:d={seconds},volume=enable='lt(t,{tone})':volume=0"
    ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *options, path)
    return path

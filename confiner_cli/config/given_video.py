"""A video in the structures' place: what it decides, and what of it the result is going to have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from confiner_cli.config.bounds import FPS
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.files import sha256
from confiner_cli.media.formats import FORMATS
from confiner_cli.media.sound import Sound, obstacle, sound_of
from confiner_cli.media.source_video import SourceVideo, probe


def with_source_video(settings: Settings) -> tuple[Settings, tuple[SourceVideo, ...]]:
    """With the length and the rate of the video that is given, if one is and they are not set.

    Raises:
        ConfinerError: a video that cannot be used as it is.
    """
    if settings.structure.video is None:
        return settings, ()
    path = Path(settings.structure.video).expanduser().absolute()  # a record is read elsewhere, too
    video = probe(path)
    if settings.num_frames is not None and settings.num_frames > video.num_frames:
        raise ConfinerError(
            f"num_frames={settings.num_frames} is more than {path} has: {video.num_frames}",
            "leave num_frames= out to take all of it",
        )
    digest = sha256(path)
    if settings.structure.sha256 not in (None, digest):
        raise ConfinerError(
            f"{path} is not the video it was when its run began", "put the old file back"
        )
    given = replace(settings.structure, video=str(path), sha256=digest)
    known = replace(settings, structure=given)
    if settings.num_frames is None:
        known = replace(known, num_frames=video.num_frames)
    if settings.fps is None:
        known = replace(known, fps=_rate(video))
    return known, (video,)


def with_sound(
    settings: Settings, videos: tuple[SourceVideo, ...], num_frames: float, fps: float
) -> tuple[Settings, Sound | None, tuple[str, ...]]:
    """With `output.audio` as it can be; the sound; what of the given video the result lacks.

    Args:
        settings: whose format and `audio` are known ones.
        videos: the one that is given, or none.
        num_frames: of the result.
        fps: of the result, frames a second.
    """
    losses = [line for video in videos for line in video.losses]
    sound = None
    for video in videos:
        if video.sound and settings.output.audio == "copy":
            kind = FORMATS[settings.output.format]
            why_not = obstacle(video, int(num_frames), fps, kind)
            if why_not:
                losses.append(f"the sound of {video.path} is left out: {why_not}")
            else:
                sound = sound_of(video, int(num_frames), fps)
    audio = "none" if sound is None else "copy"
    decided = replace(settings, output=replace(settings.output, audio=audio))
    return decided, sound, tuple(losses)


def _rate(video: SourceVideo) -> int | float:
    """Its frames a second, where a result can have them."""
    lowest, highest = FPS
    if not lowest <= video.fps <= highest:
        raise ConfinerError(
            f"{video.path} has {video.fps:g} frames a second; a result has {lowest} to {highest}",
            "say how fast its frames are to follow each other, such as fps=8",
        )
    whole_rate = int(video.fps)
    return whole_rate if video.fps == whole_rate else video.fps

"""How long a segment of a long video is, and whether the experts take it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from confiner_cli.config.bounds import in_range, one_of
from confiner_cli.config.scheduler import refining_roles, structure_roles
from confiner_cli.config.schema import LongVideoSettings, Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.method.latent_space import LatentSpace
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.method.options import ALIGNMENTS, NOISE_KEYS, SHUFFLES, LongVideoOptions

OVERLAP = "long_video.window_overlap"
SEGMENT = "long_video.segment_frames"


def with_segments(settings: Settings, num_frames: float) -> tuple[Settings, Timeline]:
    """With the length of a segment, the overlap of windows and whether segments turn; the timeline.

    A segment is the whole video where the experts take it at once, else their own length.

    Raises:
        ConfinerError: a value of `long_video` that cannot be used, or more frames at once than the
            experts take.
    """
    _check(settings.long_video)
    space = space_of_frames(settings)
    length = _segment_frames(settings, space, num_frames)
    is_one = num_frames <= length
    if not is_one:
        _check_whole(length, space)
    overlap = _overlap(settings, space, length, is_one)
    most = _most_frames(settings, space, 0 if is_one else overlap)
    if length > most:
        raise ConfinerError(
            f"{SEGMENT}={length} with window_overlap={overlap} is more than "
            f"{settings.experts.name} takes at once",
            f"{SEGMENT}={most:.0f} or less",
        )
    if not is_one and overlap > length // 2:
        raise ConfinerError(
            f"{OVERLAP}={overlap} is more than half a segment of {length} frames",
            f"{OVERLAP}={length // 2} or less",
        )
    decided = replace(
        settings.long_video,
        segment_frames=length,
        window_overlap=overlap,
        turn=_turn(settings, space),
    )
    timeline = Timeline(num_frames, length, 0 if is_one else overlap, decided.staggered, space)
    return replace(settings, long_video=decided), timeline


def space_of_frames(settings: Settings) -> LatentSpace:
    """Of the spaces that a run's experts work in, the one that takes the fewest lengths."""
    asked = structure_roles(settings) | refining_roles(settings)
    spaces = [settings.experts.role(role).space for role in sorted(asked)]
    return max(spaces, key=lambda space: space.time_factor)


def _check_whole(length: int, space: LatentSpace) -> None:
    if not space.takes(length):
        raise ConfinerError(
            f"{SEGMENT}={length}: in these experts' latents a segment has 1 + a multiple of "
            f"{space.time_factor} frames",
            f"{SEGMENT}={space.rounded_down(length)} or {space.rounded_up(length)}",
        )


def _turn(settings: Settings, space: LatentSpace) -> bool:
    asked = settings.long_video.turn
    if asked and space.time_factor > 1:
        raise ConfinerError(
            f"long_video.turn=true: latents of {space.time_factor} frames, each coded after those "
            "before it, cannot be played backwards",
            "long_video.turn=false",
        )
    return settings.experts.turn if asked is None else asked


def long_video_options(long_video: LongVideoSettings) -> LongVideoOptions:
    """The method's options, of settings that `with_segments` has decided."""
    return LongVideoOptions(
        consistency=long_video.consistency,
        shuffle=long_video.shuffle,
        coherence=long_video.coherence,
        align=long_video.align,
        noise_by=long_video.noise_by,
        turn=bool(long_video.turn),
    )


def _segment_frames(settings: Settings, space: LatentSpace, num_frames: float) -> int:
    long_video, at_once = settings.long_video, _most_frames(settings, space, overlap=0)
    drafted = settings.structure.video is None  # else there is nothing that a long video adds
    if num_frames > at_once and long_video.name == "none" and drafted:
        raise ConfinerError(
            f"num_frames={num_frames} is more than {settings.experts.name} takes at once: "
            f"{at_once:.0f}",
            f"add long_video=confiner_long, or num_frames={at_once:.0f} or less",
        )
    if long_video.segment_frames is not None:
        return long_video.segment_frames
    if num_frames <= at_once:
        return int(num_frames)
    own, overlap = settings.experts.num_frames, long_video.window_overlap
    if overlap is None:
        overlap = _quarter(own, space)
    in_range(OVERLAP, overlap, 0, own // 2)
    return space.rounded_down(int(min(own, _most_frames(settings, space, overlap))))


def _quarter(length: int, space: LatentSpace) -> int:
    """A quarter of a segment in whole latents."""
    return length // 4 // space.time_factor * space.time_factor


def _overlap(settings: Settings, space: LatentSpace, length: int, is_one: bool) -> int:
    """Half a segment, or what the experts take beside a segment, but a quarter at least."""
    if settings.long_video.window_overlap is not None:
        return settings.long_video.window_overlap
    if is_one:
        return 0
    at_once = min(_max_frames(settings, refining_roles(settings)), default=length)
    return max(_quarter(length, space), min(length // 2, at_once - length))


def _most_frames(settings: Settings, space: LatentSpace, overlap: int) -> float:
    """The most frames of a segment, whose refinement window has `overlap` more."""
    drafted = _max_frames(settings, structure_roles(settings))
    refined = _max_frames(settings, refining_roles(settings))
    most = [*drafted, *(frames - overlap for frames in refined)]
    return space.rounded_down(min(most, default=settings.experts.num_frames))


def _max_frames(settings: Settings, roles: Iterable[str]) -> list[int]:
    return [settings.experts.role(role).max_frames for role in roles]


def _check(long_video: LongVideoSettings) -> None:
    if long_video.segment_frames is not None:
        in_range(SEGMENT, long_video.segment_frames, 1, math.inf)
    in_range("long_video.consistency", long_video.consistency, 0, 1)
    in_range("long_video.coherence", long_video.coherence, 0, 0.5)
    if long_video.window_overlap is not None:
        in_range(OVERLAP, long_video.window_overlap, 0, math.inf)
    one_of("long_video.shuffle", long_video.shuffle, SHUFFLES)
    one_of("long_video.align", long_video.align, ALIGNMENTS)
    one_of("long_video.noise_by", long_video.noise_by, NOISE_KEYS)

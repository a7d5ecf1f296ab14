"""How long a segment of a long video is, and whether the experts take it: resolved and checked like all settings."""

from __future__ import annotations

import math
from dataclasses import replace

from confiner_cli.config.bounds import in_range, one_of
from confiner_cli.config.roles import refining_roles, structure_roles
from confiner_cli.config.schema import LongVideoSettings, Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.method.options import ALIGNMENTS, NOISE_KEYS, SHUFFLES


def with_segments(settings: Settings) -> Settings:
    """With the length of a segment: the whole video where the experts take it at once, else their own length.

    Raises:
        ConfinerError: a value of `long_video` that cannot be used, or more frames at once than the experts take.
    """
    _check(settings.long_video)
    length, overlap = _length(settings), settings.long_video.window_overlap
    one = settings.length <= length
    if overlap is None:
        overlap = 0 if one else _overlap(settings, length)
    most = _limit(settings, 0 if one else overlap)
    if length > most:
        raise ConfinerError(
            f"long_video.segment_frames={length} with window_overlap={overlap} is more than {settings.experts.name} "
            "takes at once",
            f"long_video.segment_frames={most:.0f} or less",
        )
    if not one and overlap > length // 2:
        raise ConfinerError(
            f"long_video.window_overlap={overlap} is more than half a segment of {length} frames",
            f"long_video.window_overlap={length // 2} or less",
        )
    turn = settings.experts.turn if settings.long_video.turn is None else settings.long_video.turn
    chosen = replace(settings.long_video, segment_frames=length, window_overlap=overlap, turn=turn)
    return replace(settings, long_video=chosen)


def _length(settings: Settings) -> int:
    long_video, at_once = settings.long_video, _limit(settings, 0)
    if settings.length > at_once and long_video.name == "none":
        raise ConfinerError(
            f"num_frames={settings.num_frames} is more than {settings.experts.name} takes at once: {at_once:.0f}",
            f"add long_video=confiner_long, or num_frames={at_once:.0f} or less",
        )
    if long_video.segment_frames is not None:
        return long_video.segment_frames
    if settings.length <= at_once:
        return int(settings.length)
    own = settings.experts.num_frames
    if long_video.window_overlap is not None:
        in_range("long_video.window_overlap", long_video.window_overlap, 0, own // 2)
    overlap = own // 4 if long_video.window_overlap is None else long_video.window_overlap
    return int(min(own, _limit(settings, overlap)))


def _overlap(settings: Settings, length: int) -> int:
    """Half a segment, or what the refining experts take beside a segment, but a quarter at least."""
    refined = min(
        (settings.experts.role(role).max_frames for role in refining_roles(settings)),
        default=length,
    )
    return max(length // 4, min(length // 2, refined - length))


def _limit(settings: Settings, overlap: int) -> float:
    """The most frames of a segment, whose refinement window has `overlap` more."""
    structure = [settings.experts.role(role).max_frames for role in structure_roles(settings)]
    refined = [
        settings.experts.role(role).max_frames - overlap for role in refining_roles(settings)
    ]
    return min((*structure, *refined), default=settings.experts.num_frames)


def _check(long_video: LongVideoSettings) -> None:
    if long_video.segment_frames is not None:
        in_range("long_video.segment_frames", long_video.segment_frames, 1, math.inf)
    in_range("long_video.consistency", long_video.consistency, 0, 1)
    in_range("long_video.coherence", long_video.coherence, 0, 0.5)
    if long_video.window_overlap is not None:
        in_range("long_video.window_overlap", long_video.window_overlap, 0, math.inf)
    one_of("long_video.shuffle", long_video.shuffle, SHUFFLES)
    one_of("long_video.align", long_video.align, ALIGNMENTS)
    one_of("long_video.noise_by", long_video.noise_by, NOISE_KEYS)

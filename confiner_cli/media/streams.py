"""What ffmpeg says of the pictures and the sound in a file when it opens it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STREAM = re.compile(r"^ *Stream #0:.*?: (?P<kind>Video|Audio): (?P<facts>.*)$", re.MULTILINE)
_PIXELS = re.compile(r", (?P<format>\w+)(?:\((?P<colours>[^)]*)\))?, \d+x\d+")
_RATE = re.compile(r", ([\d.]+) fps")
_ALPHA_BESIDE = re.compile(r"^ *alpha_mode *: 1$", re.MULTILINE | re.IGNORECASE)
_WITH_ALPHA = re.compile(r"yuva|rgba|bgra|argb|abgr|gbrap|ya\d|vuya|ayuv|pal8")
_HIGH_DYNAMIC_RANGE = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
_WIDE = {"bt2020": "BT.2020", "smpte431": "DCI-P3", "smpte432": "Display P3"}


@dataclass(frozen=True)
class Streams:
    """The first pictures that are no cover, and the first sound.

    Attributes:
        fps: frames a second on average, with two decimals; 0 where that is not known.
        may_have_alpha: whether pixels have alpha, be all of it opaque.
        alpha_beside: whether alpha is a second picture, which is not decoded (VP8, VP9).
        dynamic_range: `PQ` or `HLG`; empty where it is the ordinary one.
        gamut: colours wider than BT.709's, by their name, or empty.
        sound: the codec of the sound; empty where there is none.
    """

    fps: float = 0
    may_have_alpha: bool = False
    alpha_beside: bool = False
    dynamic_range: str = ""
    gamut: str = ""
    sound: str = ""


def streams_in(messages: str) -> Streams:
    """The streams that ffmpeg lists of its first input."""
    listed = messages.split("\nOutput #0")[0]
    found = list(_of_each(listed))
    pictures, below = next((rest for kind, *rest in found if kind == "Video"), ("", ""))
    sound = next((facts.split()[0].rstrip(",") for kind, facts, _ in found if kind == "Audio"), "")
    pixels = _PIXELS.search(pictures)
    format_, colours = (pixels["format"], pixels["colours"] or "") if pixels else ("", "")
    rate = _RATE.search(pictures)
    return Streams(
        fps=float(rate[1]) if rate else 0,
        may_have_alpha=bool(_WITH_ALPHA.match(format_)),
        alpha_beside=bool(_ALPHA_BESIDE.search(below)),
        dynamic_range=_named(colours, _HIGH_DYNAMIC_RANGE),
        gamut=_named(colours, _WIDE),
        sound=sound,
    )


def _of_each(listed: str) -> Iterator[tuple[str, str, str]]:
    """Of each stream but covers: its kind, its line, and what is said below it."""
    heads = list(_STREAM.finditer(listed))
    ends = [head.start() for head in heads[1:]] + [len(listed)]
    for head, end in zip(heads, ends, strict=True):
        if "(attached pic)" not in head["facts"]:
            yield head["kind"], head["facts"], listed[head.end() : end]


def _named(colours: str, names: dict[str, str]) -> str:
    return next((name for sign, name in names.items() if sign in colours), "")

"""The most important columns as one picture: a panel a column, a line a row, a dot a video."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

from PIL import Image, ImageDraw, ImageFont

from confiner_cli.video import temporary_beside
from long.rows import KINDS
from long.summary import Average, Line, numbers, of_kind

LABELS, PANEL, LINE, GAP, TOP, BOTTOM = 190, 180, 26, 44, 84, 34
_LIMITS = (0.5, 1.0, 3.0, 10.0, 30.0, 100.0)
PAPER, INK, GRID = "#ffffff", "#111111", "#dddddd"
COLOURS = {KINDS[0]: ((31, 119, 180), (174, 209, 235)), KINDS[1]: ((214, 90, 20), (247, 205, 175))}
"""By kind: of the average, and of single videos."""


@dataclass(frozen=True)
class Panel:
    """A column of the results as a panel, from 0 on, or with `log` from 0.5 on; what lies outside is at its edge."""

    title: str
    column: str
    average: Average
    log: bool = False


PANELS = (
    Panel("structure seam", "structure_seam_pixels", median, log=True),
    Panel("near it", "seam_near_pixels", median, log=True),
    Panel("window seam, largest", "window_seam_largest_pixels", median, log=True),
    Panel("frames right", "looks_frames", fmean),
    Panel("motion_segments", "motion_segments", fmean),
    Panel("repetition", "repetition", fmean),
    Panel("seconds a frame", "seconds_per_frame", median),
)


def write_plot(path: Path, rows: Mapping[str, Sequence[Line]]) -> None:
    """Write a PNG of results by row; it appears whole or not at all."""
    size = (LABELS + len(PANELS) * (PANEL + GAP), TOP + len(rows) * LINE + BOTTOM)
    picture = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    _legend(draw, font)
    for number, row in enumerate(rows):
        draw.text((LABELS - 12, _y(number)), row, fill=INK, font=font, anchor="rm")
    for place, panel in enumerate(PANELS):
        _panel(draw, font, LABELS + place * (PANEL + GAP), panel, list(rows.values()))
    with temporary_beside(path) as temporary:
        picture.save(temporary, optimize=True)


def _y(number: int) -> float:
    return TOP + (number + 0.5) * LINE


def _legend(draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> None:
    left = 12.0
    for kind in KINDS:
        _dot(draw, left + 5, 20, 5, COLOURS[kind][0])
        text = f"motion {kind}"
        draw.text((left + 16, 20), text, fill=INK, font=font, anchor="lm")
        left += 16 + draw.textlength(text, font=font) + 24
    draw.text((left, 20), "large: average, small: single videos", fill=INK, font=font, anchor="lm")


def _panel(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    left: float,
    panel: Panel,
    rows: Sequence[Sequence[Line]],
) -> None:
    found = [value for lines in rows for value in numbers(lines, panel.column)]
    ticks = _ticks(found, panel.log)
    bottom = TOP + len(rows) * LINE
    draw.text((left, TOP - 30), panel.title, fill=INK, font=font, anchor="lm")
    for tick in ticks:
        x = left + PANEL * _place(tick, ticks, panel.log)
        draw.line(((x, TOP - 6), (x, bottom)), fill=GRID)
        draw.text((x, bottom + 12), f"{tick:g}", fill=INK, font=font, anchor="mm")
    for number, lines in enumerate(rows):
        draw.line(((left, _y(number)), (left + PANEL, _y(number))), fill=GRID)
        for kind, offset in zip(KINDS, (-4, 4), strict=True):
            values = numbers(of_kind(lines, kind), panel.column)
            strong, weak = COLOURS[kind]
            for value in values:
                _dot(draw, left + PANEL * _place(value, ticks, panel.log), _y(number) + offset, 3, weak)
            if values:
                average = panel.average(values)
                _dot(draw, left + PANEL * _place(average, ticks, panel.log), _y(number) + offset, 4.5, strong)


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _ticks(values: Sequence[float], log: bool) -> list[float]:
    """Three to five numbers, the first and last of which are the panel's ends."""
    largest = max(values, default=1.0)
    if log:
        return [*_LIMITS[:2], *(limit for before, limit in pairwise(_LIMITS[1:]) if before < largest)]
    unit = 10 ** math.floor(math.log10(max(largest, 1e-6)))
    step = next(factor * unit / 4 for factor in (1, 2, 4, 10) if factor * unit >= largest - 1e-9)
    return [step * number for number in range(5)]


def _place(value: float, ticks: Sequence[float], log: bool) -> float:
    """0 at the first tick, 1 at the last."""
    first, last = ticks[0], ticks[-1]
    value = min(max(value, first), last)
    if log:
        return math.log(value / first) / math.log(last / first)
    return (value - first) / (last - first)

"""The most important columns as one picture: a panel a column, a line a row, a dot a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.axes import plain, ticked, write
from long.rows import KINDS
from long.summary import Average, Line, numbers, of_kind

COLOURS = dict(zip(KINDS, ("#1f77b4", "#d55e00"), strict=True))
BESIDE = dict(zip(KINDS, (-0.16, 0.16), strict=True))
"""By kind: how far from the middle of a row's line its dots are."""
_LIMITS = (0.1, 30.0)


@dataclass(frozen=True)
class Panel:
    """A column of the results as a panel, from 0 on.

    With `log`, what lies outside of 0.1 to 30 is at its edge.
    """

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
    figure = Figure(figsize=(17, 1.6 + 0.28 * len(rows)), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(PANELS), sharey=True)
    for axes, panel in zip(panels, PANELS, strict=True):
        for place, lines in enumerate(rows.values()):
            for kind in KINDS:
                _dots(
                    axes,
                    place + BESIDE[kind],
                    panel,
                    numbers(of_kind(lines, kind), panel.column),
                    kind,
                )
        _scaled(axes, panel)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].set_ylim(max(len(rows), 1) - 0.5, -0.5)
    for kind in KINDS:
        panels[0].plot([], [], "o", color=COLOURS[kind], label=f"motion {kind}")
    figure.legend(
        title="large: average, small: single videos",
        loc="outside upper left",
        ncols=2,
        frameon=False,
    )
    write(figure, path, dpi=80)


def _scaled(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, fontsize=10)
    axes.tick_params(labelsize=9)
    plain(axes)
    if panel.log:
        axes.set(xscale="log", xlim=_LIMITS)
        ticked(axes.xaxis, (0.1, 0.3, 1, 3, 10, 30))
    else:
        axes.set_xlim(left=0)


def _dots(axes: Axes, y: float, panel: Panel, values: Sequence[float], kind: str) -> None:
    if not values:
        return
    low, high = _LIMITS if panel.log else (0.0, None)
    for found, size, alpha in ((values, 12, 0.35), ([panel.average(values)], 45, 1.0)):
        x = np.clip(found, low, high)
        axes.scatter(
            x, np.full(len(x), y), size, COLOURS[kind], alpha=alpha, linewidths=0, clip_on=False
        )

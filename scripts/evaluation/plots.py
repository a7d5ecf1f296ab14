"""The tables as plots: quality against operations, and what Te does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.axes import plain, ticked, write
from evaluation.measures import AMPLITUDE, CONTRAST, DISTANCE, FLICKER, Measure
from evaluation.rows import ALONE, CHEAPER, GUIDANCE, HOPS, PATTERNS, PRESETS, STEADY, TES, te_row
from evaluation.sample import Samples
from evaluation.statistics import Interval


@dataclass(frozen=True)
class Family:
    """Rows that are drawn alike.

    Attributes:
        title: in the legend.
        rows: by name, as far as they are there.
        colour: as matplotlib knows it.
        marker: the same.
        named: those that get their names, beside those on a front.
    """

    title: str
    rows: Sequence[str]
    colour: str
    marker: str
    named: Sequence[str] = ()


def _starting(prefix: str, rows: Iterable[str]) -> tuple[str, ...]:
    return tuple(row for row in rows if row.startswith(prefix))


_REFINED = (*PATTERNS, *CHEAPER, *HOPS, *GUIDANCE)
_TWO_VISITS, _TEMPORAL_FIRST = (
    _starting(name, _REFINED) for name in ("two_visits", "temporal_first")
)
FAMILIES = (
    Family(
        "control expert alone",
        _starting("control", ALONE),
        "#0072b2",
        "s",
        ("control_4", "control_100"),
    ),
    Family(
        "temporal expert alone",
        _starting("temporal", ALONE),
        "#009e73",
        "D",
        ("temporal_10", "temporal_100"),
    ),
    Family(
        "spatial expert alone",
        _starting("spatial", ALONE),
        "#e69f00",
        "^",
        ("spatial_10", "spatial_100"),
    ),
    Family("presets (guided)", tuple(PRESETS), "#d55e00", "*", tuple(PRESETS)),
    Family("two visits", _TWO_VISITS, "#cc79a7", "P", ("two_visits_3",)),
    Family("temporal first", _TEMPORAL_FIRST, "#000000", "X"),
    Family(
        "other ways to refine",
        tuple(row for row in _REFINED if row not in (*_TWO_VISITS, *_TEMPORAL_FIRST)),
        "#7f7f7f",
        "o",
        ("coordinated", "spatial_only", "temporal_only", "naive"),
    ),
)
TE_LINES = (
    ("coordinated, 4 control steps", "coordinated", 4, "#d55e00"),
    ("coordinated, 8 control steps", "coordinated", 8, "#0072b2"),
    ("two visits in 3 steps, 4 control steps", "two_visits_3", 4, "#cc79a7"),
    ("temporal first in 2 steps, shared noise, 4 control steps", STEADY, 4, "#009e73"),
)


REFERENCE = "coordinated"
_TEXT: Mapping[str, Any] = {"fontsize": 8, "rotation_mode": "anchor"}
_SLANTED: Mapping[str, Any] = {"xytext": (-3, -7), "rotation": -35}
_FLAT: Mapping[str, Any] = {"xytext": (8, -2)}


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names that no other one beats in both numbers (less is better), by the first number."""
    kept = [name for name, place in points.items() if not _is_beaten(place, points.values())]
    return sorted(kept, key=lambda name: points[name])


def _is_beaten(place: tuple[float, float], others: Iterable[tuple[float, float]]) -> bool:
    x, y = place
    return any(a <= x and b <= y and (a, b) != place for a, b in others)


def write_operations(path: Path, samples: Samples) -> None:
    """Write a PNG of flicker and of feature distance against operations, with the Pareto fronts."""
    figure = Figure(figsize=(12, 12), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, measure, unit in (
        (upper, FLICKER, "levels of 0-255"),
        (lower, DISTANCE, "Frechet, to renders"),
    ):
        _fronted(axes, measure, samples)
        axes.set(ylabel=f"{measure.title} ({unit}): less is better")
    lower.set(xlabel="operations of a clip, G")
    _finish(figure, upper, path)


def write_te(path: Path, samples: Samples) -> None:
    """Write a PNG of what Te does to flicker, feature distance, contrast and amplitude."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, 4))
    for axes, measure in zip(panels, (FLICKER, DISTANCE, CONTRAST, AMPLITUDE), strict=True):
        for title, row, control_steps, colour in TE_LINES:
            rows = {te: te_row(row, te, control_steps) for te in TES}
            there = [te for te, name in rows.items() if name in samples.rows]
            found = [compared(measure, rows[te], samples) for te in there]
            estimates = [each.estimate for each in found]
            axes.plot(there, estimates, "o-", color=colour, label=title)
            low, high = [each.low for each in found], [each.high for each in found]
            axes.fill_between(there, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set(xlabel="Te", title=measure.title)
        plain(axes)
    _finish(figure, panels[0], path)


def compared(measure: Measure, row: str, samples: Samples) -> Interval:
    """A row's number, with the interval of its difference to the `REFERENCE`, where there is one.

    The interval of the number itself is mostly of how different prompts are, which is the same for
    all rows.
    """
    sample, other = samples.rows[row], samples.rows.get(REFERENCE)
    own = measure.of(sample, samples.bootstrap)
    if other is None:
        return own
    difference = measure.difference(sample, other, samples.bootstrap)
    shift = own.estimate - difference.estimate
    return Interval(own.estimate, difference.low + shift, difference.high + shift)


def _fronted(axes: Axes, measure: Measure, samples: Samples) -> None:
    points: dict[str, tuple[float, float]] = {}
    for family in FAMILIES:
        points |= _scattered(axes, family, measure, samples)
    best = front(points)
    x, y = zip(*(points[row] for row in best), strict=True)
    axes.step(x, y, where="post", color="#111111", linewidth=1, label="Pareto front", zorder=0)
    for row in best:  # presets flat: the ways to refine that they are made of lie close by
        place: Mapping[str, Any] = _FLAT if row in PRESETS else _SLANTED
        _named(axes, row, points, va="top", weight="bold", **place)
    for row in (row for family in FAMILIES for row in family.named):
        if row in points and row not in best:
            _named(axes, row, points, xytext=(3, 6), rotation=35, va="bottom")
    axes.set(xscale="log", yscale="log")
    ticked(axes.xaxis, (20, 50, 100, 200, 500))
    ticked(axes.yaxis, (0.15, 0.2, 0.3, 0.5, 1, 2, 3, 5, 8))
    axes.margins(0.1, 0.25)
    low, high = axes.get_ylim()
    axes.set_ylim(low * 0.85, high * 0.85)  # the long names on the front hang down
    plain(axes)


def _scattered(
    axes: Axes, family: Family, measure: Measure, samples: Samples
) -> dict[str, tuple[float, float]]:
    """Draw a family's rows as points with bars; where they are, as far as they are there."""
    rows = [row for row in family.rows if row in samples.rows]
    if not rows:
        return {}
    found = [compared(measure, row, samples) for row in rows]
    x = [samples.rows[row].operations / 1e9 for row in rows]
    y = [each.estimate for each in found]
    below = [each.estimate - each.low for each in found]
    above = [each.high - each.estimate for each in found]
    axes.errorbar(
        x,
        y,
        [below, above],
        fmt=family.marker,
        color=family.colour,
        label=family.title,
        markersize=11 if family.marker == "*" else 6,
        elinewidth=0.7,
        alpha=0.85,
    )
    return dict(zip(rows, zip(x, y, strict=True), strict=True))


def _named(axes: Axes, row: str, points: Mapping[str, tuple[float, float]], **style: Any) -> None:
    axes.annotate(row, points[row], textcoords="offset points", **style, **_TEXT)


def _finish(figure: Figure, legend_of: Axes, path: Path) -> None:
    figure.legend(
        *legend_of.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    figure.suptitle(
        f"Bars and bands: 95 % intervals of the difference to {REFERENCE}, same prompts and seeds",
        fontsize=10,
    )
    write(figure, path, dpi=100)

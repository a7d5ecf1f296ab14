"""How all plots look, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from confiner_cli.files import atomic_write


def plain(axes: Axes) -> None:
    """A light grid behind everything, and no frame."""
    axes.grid(color="#e5e5e5")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def ticked(axis: Axis, ticks: Sequence[float]) -> None:
    """Ticks at these numbers only, written as they are."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_locator(NullLocator())


def write(figure: Figure, path: Path, dpi: int) -> None:
    """Write a PNG that appears whole or not at all; the same plot is the same bytes."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png", metadata={"Software": None})

"""The figure: a long video on its frames above, one window's walk from noise to clean below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from confiner_cli.method.long.timeline import Span, Timeline
from drawing.stops import CLEAN, Stop

# Blue, vermilion and green of Okabe and Ito, the green darkened: apart for any colour vision. The
# letters and the shapes of the marks say the same.
COLOURS = {"control": "#0072b2", "spatial": "#d55e00", "temporal": "#007a5a", "clean": "#ffffff"}
MARKERS = {"control": "o", "spatial": "s", "temporal": "D", "clean": "o"}
DRAFT, WINDOW, RESULT, FADED, BAND = "#cfe5f5", "#f3dcea", "#e2e2e2", "#ffffff", "#f4f4f4"
DARK, GREY = "#222222", "#6a6a6a"
STEP: Mapping[str, Any] = {"color": DARK, "linewidth": 1.8, "linestyle": "-"}
RENOISED: Mapping[str, Any] = {"color": GREY, "linewidth": 1.3, "linestyle": (0, (4, 2))}
TITLE: Mapping[str, Any] = {"loc": "left", "weight": "bold", "fontsize": 11}
CENTRED: Mapping[str, Any] = {"ha": "center", "va": "center"}
LEGEND = {
    "control": "C: a visit of the control expert",
    "spatial": "S: a visit of the spatial expert",
    "temporal": "T: a visit of the temporal expert",
    "clean": "clean latents: the draft, then the result",
}


def figure(timeline: Timeline, draft: Sequence[Stop], refinement: Sequence[Stop]) -> Figure:
    """The whole figure, 10 x 7.6 inches.

    Args:
        timeline: of the long video above.
        draft: the visits that make a structure.
        refinement: the visits that refine a window.
    """
    drawn = Figure(figsize=(10, 7.6), layout="constrained")
    upper, lower = drawn.subplots(2, 1, height_ratios=(5, 8))
    draw_frames(upper, timeline)
    draw_walk(lower, draft, refinement)
    return drawn


def draw_frames(axes: Axes, timeline: Timeline) -> None:
    """Structures, the windows across their seams, and the video that comes of them, by frame."""
    for number, span in enumerate(timeline.structures):
        _box(axes, span, 3, DRAFT, f"structure {number}")
    for number in range(len(timeline.windows)):
        lane = 2 - number % 2  # neighbours overlap
        _box(axes, timeline.refines(number), lane, WINDOW, f"window {number}")
    for span, label in shown(timeline):
        _box(axes, span, 0, RESULT if label.isdigit() else FADED, label)
    for span in timeline.structures[1:]:
        seam = (span.start, span.start)
        axes.plot(seam, (0.5, 3.5), ":", color=COLOURS["control"], linewidth=2, zorder=3)
    axes.set(xlim=(-0.1, timeline.num_frames + 0.1), ylim=(-0.5, 3.5), xlabel="frame")
    axes.set_xticks(range(0, int(timeline.num_frames) + 1, timeline.length // 4))
    axes.set_yticks([3, 1.5, 0], ["drafts", "refinement", "the video,\nby window"])
    axes.set_title(
        f"A video of {timeline.num_frames} frames: windows lie across the seams of structures",
        **TITLE,
    )
    _plain(axes)


def shown(timeline: Timeline) -> Iterator[tuple[Span, str]]:
    """The video, piece by piece: the window it is from, or the two that are cross-faded in it."""
    for number, span in enumerate(timeline.windows):
        own = span.start + (timeline.overlap if number else 0)
        if own > span.start:
            yield Span(span.start, own), f"{number - 1} \N{RIGHTWARDS ARROW} {number}"
        yield Span(own, span.stop), f"{number}"


def _box(axes: Axes, span: Span, row: float, colour: str, label: str) -> None:
    corner = (span.start, row - 0.38)
    axes.add_patch(Rectangle(corner, len(span), 0.76, facecolor=colour, edgecolor=DARK))
    # a seam may pass behind the label
    under = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
    axes.text((span.start + span.stop) / 2, row, label, bbox=under, zorder=4, **CENTRED)


def draw_walk(axes: Axes, draft: Sequence[Stop], refinement: Sequence[Stop]) -> None:
    """The noise level at each visit, and how the sample gets from one to the next."""
    path = [*draft, CLEAN, *refinement, CLEAN]
    for x, (stop, following) in enumerate(pairwise(path)):
        if following.renoised:  # through the clean estimate: only that is kept
            between = x if stop is CLEAN else x + 0.5
            levels = (stop.noise, 0, following.noise)
            axes.plot((x, between, x + 1), levels, **RENOISED)
        else:
            axes.plot((x, x + 1), (stop.noise, following.noise), **STEP)
    for x, stop in enumerate(path):
        _mark(axes, x, stop)
    _timesteps(axes, draft, refinement)
    _explain(axes, draft, refinement)
    axes.set(xlim=(-0.6, len(path) - 0.4), ylim=(-0.07, 1.06))
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["clean", "0.25", "0.5", "0.75", "noise"])
    axes.set(xlabel="timestep t of each visit", ylabel="noise level")
    visits = len(draft) + len(refinement)
    axes.set_title(f"From noise to video: the {visits} visits of scheduler=confiner_9", **TITLE)
    _plain(axes)


def _mark(axes: Axes, x: float, stop: Stop) -> None:
    axes.plot(
        x,
        stop.noise,
        MARKERS[stop.role],
        color=COLOURS[stop.role],
        markeredgecolor=DARK,
        markersize=9 if stop is CLEAN else 15,
        zorder=4,
    )
    if stop is not CLEAN:
        letter = stop.role[0].upper()
        axes.text(x, stop.noise, letter, color="white", weight="bold", zorder=5, **CENTRED)


def _timesteps(axes: Axes, draft: Sequence[Stop], refinement: Sequence[Stop]) -> None:
    """A tick a visit of the draft, a tick and a band a step of the refinement."""
    ticks = {float(x): f"{stop.t:g}" for x, stop in enumerate(draft)}
    start = len(draft) + 1
    for number, (t, group) in enumerate(groupby(refinement, key=lambda stop: stop.t)):
        stop = start + len(list(group))
        ticks[(start + stop - 1) / 2] = f"{t:g}"
        if number % 2 == 0:
            axes.axvspan(start - 0.5, stop - 0.5, ymax=0.5, color=BAND, zorder=0)
        start = stop
    axes.set_xticks(list(ticks), list(ticks.values()))


def _explain(axes: Axes, draft: Sequence[Stop], refinement: Sequence[Stop]) -> None:
    first = len(draft) + 1
    last = first + len(refinement) - 1
    te = refinement[0]
    axes.annotate(
        f"te = {te.t:g}", (first, te.noise), (0, 12), textcoords="offset points", ha="center"
    )
    axes.text(1.1, 0.45, "draft\n(text-to-video)", style="italic", **CENTRED)
    axes.text((first + last) / 2, 0.46, "refinement (img2img)", style="italic", **CENTRED)
    for role, told in LEGEND.items():
        style: dict[str, Any] = {"color": COLOURS[role], "markeredgecolor": DARK}
        axes.plot([], [], MARKERS[role], markersize=10, label=told, **style)
    axes.plot([], [], label="a step: keeps the noise that was estimated", **STEP)
    axes.plot([], [], label="a hand-over: fresh noise on the clean estimate", **RENOISED)
    axes.legend(loc="upper right", frameon=False, borderaxespad=0)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)

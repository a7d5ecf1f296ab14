"""Draw docs/scale.svg and print its table: `python scripts/draw_scale.py`.

How many workers are of use for one long video, by the simulation that `confiner plan` does. What
tasks take is counted (`runs/workers/expected.py`), so the figure is the same on every machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from confiner_cli.config.hydra import settings_with
from confiner_cli.config.resolve import resolve
from confiner_cli.files import atomic_write
from confiner_cli.runs.job_graph import graph_of_job
from confiner_cli.runs.workers.expected import counted, limits, stops_at
from confiner_cli.runs.workers.simulation import simulate

OUTPUT = Path(__file__).parents[1] / "docs" / "scale.svg"
LONG = ("experts=lavie_sd", "long_video=confiner_long", "executor=ray", "device=cuda")
VIDEOS: Mapping[str, Sequence[str]] = {
    "600 frames, structures follow": (*LONG, "num_frames=600", "long_video.coherence=0.02"),
    "600 frames, independent": (*LONG, "num_frames=600"),
    "6000 frames, independent": (*LONG, "num_frames=6000"),
}
LINES = {
    "600 frames, structures follow": ("#d55e00", "o", "-"),
    "600 frames, independent": ("#0072b2", "s", "--"),
    "6000 frames, independent": ("#007a5a", "D", "-."),
}
"""Colours of Okabe and Ito; marks and dashes say the same."""
SHOWN = (1, 2, 8, 64, 512)
COUNTS = tuple(2**power for power in range(10))


def main(arguments: list[str]) -> int:
    """Draw the figure where `--out` says, and print the table."""
    parser = argparse.ArgumentParser(description="Draw the figure of docs/scale.md.")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="an SVG file")
    write(parser.parse_args(arguments).out)
    print("\n".join(table()))
    return 0


def table() -> Iterator[str]:
    """In Markdown: hours, and the speed-up, for some numbers of workers."""
    heads = [f"{count} worker{'s' if count > 1 else ''}" for count in SHOWN]
    yield f"| video | {' | '.join(heads)} | of no use beyond | because |"
    yield f"|---|{'---|' * (len(SHOWN) + 2)}"
    for name, words in VIDEOS.items():
        job = resolve(settings_with(words))
        graph, found = graph_of_job(job), counted(job, threads=1)
        assert found is not None
        totals = [simulate(graph, found.seconds, count).total for count in SHOWN]
        cells = [f"{total / 60:.1f} min ({totals[0] / total:.1f})" for total in totals]
        _, why = max(limits(graph, found.seconds))
        last = stops_at(graph, found.seconds).workers
        yield f"| {name} | {' | '.join(cells)} | {last} | {why} |"


def write(path: Path) -> None:
    """Write the figure as an SVG: whole or not at all, the same figure as the same bytes."""
    with atomic_write(path) as temporary, mpl.rc_context({"svg.hashsalt": "confiner"}):
        figure().savefig(temporary, format="svg", metadata={"Date": None})


def figure() -> Figure:
    """Speed-up by workers, 7 x 4.5 inches."""
    drawn = Figure(figsize=(7, 4.5), layout="constrained")
    axes = drawn.subplots()
    axes.plot(COUNTS, COUNTS, ":", color="#6a6a6a", label="each worker as much as the first")
    for name, words in VIDEOS.items():
        job = resolve(settings_with(words))
        graph, found = graph_of_job(job), counted(job, threads=1)
        assert found is not None
        totals = [simulate(graph, found.seconds, count).total for count in COUNTS]
        colour, mark, line = LINES[name]
        gains = [totals[0] / total for total in totals]
        axes.plot(COUNTS, gains, linestyle=line, marker=mark, color=colour, label=name)
    axes.set(xscale="log", yscale="log", xlabel="workers, a GPU each", ylabel="speed-up, simulated")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
    axes.set_xticks(COUNTS)
    axes.minorticks_off()
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    return drawn


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

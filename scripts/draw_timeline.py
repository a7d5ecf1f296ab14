"""Draw docs/timeline.svg, the figure of README: `python scripts/draw_timeline.py`.

Its upper half shows where the structures and windows of a long video lie, as `Timeline` has them.
Its lower half shows the noise level at every visit of `scheduler=confiner_9`, as the method's lists
of visits have it. No number in it is typed in, and a test holds the file to the code.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib as mpl

from confiner_cli.config.hydra import settings_with
from confiner_cli.config.resolve import resolve
from confiner_cli.files import atomic_write
from confiner_cli.method.long.timeline import Timeline
from drawing.figure import figure
from drawing.stops import described, draft_stops, refinement_stops

OUTPUT = Path(__file__).parents[1] / "docs" / "timeline.svg"
OVERRIDES = ("experts=lavie_sd", "scheduler=confiner_9")
TIMELINE = Timeline(num_frames=48, segment_frames=16, overlap=8)
"""Three structures, whose windows share half a structure, as the embedded experts' do."""


def main(arguments: list[str]) -> int:
    """Draw the figure where `--out` says."""
    parser = argparse.ArgumentParser(description="Draw the figure of README.")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="an SVG file")
    write(parser.parse_args(arguments).out)
    return 0


def write(path: Path) -> None:
    """Write the figure as an SVG: whole or not at all, the same figure as the same bytes."""
    job = resolve(settings_with(OVERRIDES))
    draft, refinement = draft_stops(job), refinement_stops(job)
    drawn = figure(TIMELINE, draft, refinement)
    words = {"Description": described(TIMELINE, draft, refinement), "Date": None}
    with atomic_write(path) as temporary, mpl.rc_context({"svg.hashsalt": "confiner"}):
        drawn.savefig(temporary, format="svg", metadata=words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

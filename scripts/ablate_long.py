"""Measure ConFiner-Long.

    python scripts/ablate_long.py --prompts 8 --seeds 3 --frames 96 --out DIR

Writes DIR/results.csv, one line a row, prompt and seed, tables into DIR/summary.md, a picture of
them, DIR/long.png, and the frames at seams, DIR/seams/ROW.png. After a kill the same command goes
on where it stopped. Several processes may work in the same DIR at once: with other --rows, or with
--shard 1/2 and --shard 2/2. With --lengths 16 64 256 600 it measures seconds and memory against
length instead: DIR/lengths.csv and DIR/lengths.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path

from evaluation.command import circumstances, exit_code, shared_options
from evaluation.lines import Lines
from evaluation.marks import made_by
from evaluation.prompts import draw
from evaluation.results import KEY
from evaluation.tasks import Task
from long import lengths
from long.makers import made_with, sources
from long.plot import write_plot
from long.rows import ROWS
from long.run import COLUMNS, evaluate, row_by_row
from long.sheets import write_sheets
from long.summary import by_row, summary


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)

    def work() -> None:
        text, path = (against_length if options.lengths else ablation)(options)
        told = circumstances(arguments, "ablate_long")
        path.write_text(f"{text}\n{told}", encoding="utf-8")
        print(text)

    return exit_code(work)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared_options(ROWS, prompts=8, seeds=3)],
    )
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument(
        "--lengths", type=int, nargs="+", metavar="FRAMES", help="seconds and memory against length"
    )
    parser.add_argument("--repeats", type=int, default=1, help="videos a length")
    return parser


def ablation(options: argparse.Namespace) -> tuple[str, Path]:
    """Make the rows' videos; returns the tables of all rows that there are, and where they go."""
    prompts = list(islice(draw(options.prompt_seed), options.prompts))
    results = Lines(options.out / "results.csv", COLUMNS, KEY, made_by(options.override))
    seams, (first, step) = options.out / "seams", options.shard

    def all_of(rows: Collection[str]) -> list[Task]:
        wanted = [row for row in ROWS if row in rows]
        marked = {row: made_with(row, options.frames, options.override) for row in wanted}
        return row_by_row(marked, prompts, options.seeds)

    todo = all_of(options.rows or ROWS)[first::step]
    evaluate(sources(options.frames, options.override), todo, results, seams)
    results.refresh()  # what others have added
    everything = all_of({row for row, *_ in results.lines})
    write_sheets(seams, ROWS, prompts)
    write_plot(options.out / "long.png", by_row(results, everything))
    return summary(results, everything), options.out / "summary.md"


def against_length(options: argparse.Namespace) -> tuple[str, Path]:
    """Measure the lengths; returns the table of all lengths that there are, and where it goes."""
    results = Lines(
        options.out / "lengths.csv", lengths.COLUMNS, lengths.KEY, made_by(options.override)
    )
    lengths.measure(options.lengths, options.repeats, options.override, results)
    return lengths.lengths_table(results), options.out / "lengths.md"


if __name__ == "__main__":
    sys.exit(main())

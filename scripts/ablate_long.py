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
import functools
import subprocess
import sys
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path

from confiner_cli.errors import ConfinerError
from evaluate_embedded import circumstances, made_by
from evaluation.lines import Lines, OtherResultsError
from evaluation.prompts import draw
from evaluation.results import KEY
from evaluation.run import Task, shard
from long import lengths
from long.makers import made_with, source
from long.plot import write_plot
from long.rows import ROWS
from long.run import COLUMNS, evaluate, tasks
from long.sheets import write_sheets
from long.summary import by_row, summary


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        text, path = (against_length if options.lengths else ablation)(options)
    except OtherResultsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ConfinerError as error:
        print(error.lines(), file=sys.stderr)
        return error.exit_code
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return 130
    said = circumstances(arguments, Path(__file__).stem)
    path.write_text(f"{text}\n{said}", encoding="utf-8")
    print(text)
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, metavar="ROW", help=f"default: all of {', '.join(ROWS)}"
    )
    parser.add_argument("--prompts", type=int, default=8, help="every 8 have all motions")
    parser.add_argument("--prompt-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3, help="videos a prompt")
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument(
        "--shard",
        type=shard,
        default=(0, 1),
        metavar="I/N",
        help="only every Nth video, from the Ith",
    )
    parser.add_argument(
        "--lengths", type=int, nargs="+", metavar="FRAMES", help="seconds and memory against length"
    )
    parser.add_argument("--repeats", type=int, default=1, help="videos a length")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--override", action="append", default=[], help="for every row, such as device=cuda"
    )
    return parser


def ablation(options: argparse.Namespace) -> tuple[str, Path]:
    """Make the rows' videos; returns the tables of all rows that there are, and where they go."""
    prompts = list(islice(draw(options.prompt_seed), options.prompts))
    results = Lines(options.out / "results.csv", COLUMNS, KEY, made_by(options.override))
    sources = functools.partial(source, num_frames=options.frames, overrides=options.override)
    seams, (first, step) = options.out / "seams", options.shard

    def all_of(rows: Collection[str]) -> list[Task]:
        marked = [
            (row, made_with(row, options.frames, options.override)) for row in ROWS if row in rows
        ]
        return tasks(marked, prompts, options.seeds)

    evaluate(sources, all_of(options.rows or ROWS)[first::step], results, seams)
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

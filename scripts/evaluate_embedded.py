"""Measure the embedded experts.

    python scripts/evaluate_embedded.py --prompts 16 --prompt-seed 0 --seeds 1 --out DIR

Writes DIR/results.csv, one line a row, prompt and seed, and DIR/summary.md. After a kill the same
command goes on where it stopped; several processes may work in the same DIR at once, with --shard
1/2 and --shard 2/2. With --signs it swaps only the motion word instead, and writes into DIR/signs;
with --held-out it asks for combinations of attributes that no training saw, and writes into
DIR/held_out. When both are there, --report FOLDER writes docs' results.md.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from confiner_cli.config.hydra import settings_with
from confiner_cli.config.schema import Settings
from evaluation.command import circumstances, exit_code, shared_options
from evaluation.makers import makers
from evaluation.marks import made_by, mark, what_is_set
from evaluation.pages import write_pages, write_pictures, write_text
from evaluation.prompts import Prompt, draw, draw_held_out
from evaluation.results import Results
from evaluation.rows import FLOOR, HELD_OUT, ROWS
from evaluation.run import evaluate
from evaluation.sample import Samples
from evaluation.sections import HELD_OUT_SECTIONS, SECTIONS
from evaluation.signs import ROWS as SIGN_ROWS
from evaluation.signs import signs, swapped
from evaluation.summary import LEGEND, summary
from evaluation.tasks import tasks

ALL_ROWS = (*FLOOR, *ROWS)
HELD_OUT_FOLDER = "held_out"
PICTURED = 9
"""The number of the prompt that is shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    whole = not options.rows and options.shard == (0, 1)
    if options.report and not (whole and (options.out / HELD_OUT_FOLDER).is_dir()):
        print(
            "error: --report needs all rows, and what --held-out has measured; see `make results`",
            file=sys.stderr,
        )
        return 2

    def work() -> None:
        measure(options)
        tell(options, circumstances(arguments, "evaluate_embedded"))

    return exit_code(work)


def measure(options: argparse.Namespace) -> None:
    """Make, judge and keep what is missing of the chosen rows."""
    first, step = options.shard
    prompts = chosen_prompts(options)
    if options.signs:
        prompts = swapped(prompts)
    todo = tasks(marked(options, chosen_rows(options)), prompts[first::step], options.seeds)
    evaluate(makers(options.override), todo, Results(folder_of(options), made_by(options.override)))


def tell(options: argparse.Namespace, told: str) -> None:
    """Write and print what has been measured: by this process, by others, and in earlier calls."""
    folder, prompts = folder_of(options), chosen_prompts(options)
    results = Results(folder, made_by(options.override))
    if options.signs:
        text = signs(results, marked(options, chosen_rows(options)), prompts, options.seeds)
    else:
        samples = Samples.of(results, tasks(marked(options, ALL_ROWS), prompts, options.seeds))
        sections = HELD_OUT_SECTIONS if options.held_out else SECTIONS
        text = f"{summary(samples, sections)}\n{LEGEND}"
    text = f"{text}\n{told}"
    write_text(folder / "summary.md", text)
    print(text)
    if options.report:
        report(options, samples, prompts, told)


def report(
    options: argparse.Namespace, samples: Samples, prompts: Sequence[Prompt], told: str
) -> None:
    """Write what docs/ has of the results."""
    results = Results(options.out / HELD_OUT_FOLDER, made_by(options.override))
    unseen = list(islice(draw_held_out(options.prompt_seed), options.prompts))
    todo = tasks(marked(options, HELD_OUT), unseen, options.seeds)
    options.report.mkdir(parents=True, exist_ok=True)
    write_pages(options.report, samples, Samples.of(results, todo), told)
    pictured = prompts[PICTURED % len(prompts)]
    write_pictures(options.report, samples, makers(options.override), pictured)


def folder_of(options: argparse.Namespace) -> Path:
    """Where the results go."""
    folder: Path = options.out
    if options.signs:
        return folder / "signs"
    return folder / HELD_OUT_FOLDER if options.held_out else folder


def chosen_prompts(options: argparse.Namespace) -> list[Prompt]:
    """As many as were asked for."""
    drawn: Callable[[int], Iterator[Prompt]] = draw_held_out if options.held_out else draw
    return list(islice(drawn(options.prompt_seed), options.prompts))


def chosen_rows(options: argparse.Namespace) -> Sequence[str]:
    """Those that were asked for, or the usual ones."""
    if options.rows:
        rows: Sequence[str] = options.rows
        return rows
    if options.signs:
        return SIGN_ROWS
    return HELD_OUT if options.held_out else ALL_ROWS


def marked(options: argparse.Namespace, rows: Sequence[str]) -> dict[str, str]:
    """Rows with what they are made with."""
    return {row: made_with(row, tuple(options.override)) for row in rows}


@functools.cache
def made_with(row: str, overrides: tuple[str, ...]) -> str:
    """Eight digits that change with whatever is set for a row.

    Clips that were made with other settings are not its own.
    """
    settings = settings_with([*ROWS[row], *overrides]) if row in ROWS else Settings()
    return mark(what_is_set(settings))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[shared_options(ALL_ROWS, prompts=16, seeds=1)],
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--signs", action="store_true", help="swap left/right and rising/falling on the same seed"
    )
    other.add_argument(
        "--held-out", action="store_true", help="ask for combinations that no training saw"
    )
    other.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="where results.md, its tables, plots and pictures go, when all is there",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

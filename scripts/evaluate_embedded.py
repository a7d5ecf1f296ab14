"""Measure the embedded experts: `python scripts/evaluate_embedded.py --prompts 16 --prompt-seed 0 --seeds 1 --out DIR`.

Writes DIR/results.csv, one line a row, prompt and seed, and DIR/summary.md. After a kill the same command goes on
where it stopped; several processes may work in the same DIR at once, with --shard 1/2 and --shard 2/2. With --signs it
swaps only the motion word instead, and writes into DIR/signs; with --held-out it asks for combinations of attributes
that no training saw, and writes into DIR/held_out. When both are there, --report FOLDER writes docs' results.md.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from confiner_cli import api
from confiner_cli.config import compose, settings_of
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.source import EMBEDDED
from confiner_cli.settings import Settings
from evaluation.lines import OtherResultsError
from evaluation.prompts import Prompt, draw, draw_held_out
from evaluation.report import report
from evaluation.results import Results
from evaluation.rows import FLOOR, HELD_OUT, ROWS
from evaluation.run import Made, Maker, evaluate, reconstructed, rendered, shard, tasks
from evaluation.sample import Samples
from evaluation.sections import HELD_OUT_SECTIONS, SECTIONS
from evaluation.signs import ROWS as SIGN_ROWS
from evaluation.signs import signs, swapped
from evaluation.summary import summary

FLOOR_MAKERS: Mapping[str, Callable[[], Maker]] = {"renders": rendered, "reconstructions": reconstructed}
PICTURED = 4
"""The number of the prompt that is shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    chosen = draw_held_out if options.held_out else draw
    prompts = list(islice(chosen(options.prompt_seed), options.prompts))
    rows = options.rows or (SIGN_ROWS if options.signs else HELD_OUT if options.held_out else (*FLOOR, *ROWS))
    folder = options.out / ("signs" if options.signs else "held_out" if options.held_out else "")
    overrides = tuple(options.override)
    experts = {name: functools.partial(expert_maker, (*ROWS[name], *overrides)) for name in ROWS}
    makers: dict[str, Callable[[], Maker]] = {**FLOOR_MAKERS, **experts}
    marked = {row: made_with(row, overrides) for row in rows}
    first, step = options.shard
    try:
        todo = tasks(marked, (swapped(prompts) if options.signs else prompts)[first::step], options.seeds)
        results = Results(folder, made_by(overrides))
        evaluate(makers, todo, results)
    except OtherResultsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ConfinerError as error:
        print(error.lines(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return 130
    if options.signs:
        text = signs(results, marked, prompts, options.seeds)
    else:
        samples = sampled(folder, prompts, options)  # with what others have added, and rows of earlier calls
        text = summary(samples, HELD_OUT_SECTIONS if options.held_out else SECTIONS)
    text = f"{text}\n{circumstances(arguments)}"
    (folder / "summary.md").write_text(text, encoding="utf-8")
    print(text)
    if options.report:
        unseen = sampled(
            options.out / "held_out", list(islice(draw_held_out(options.prompt_seed), len(prompts))), options
        )
        try:
            write_report(options.report, samples, unseen, text, circumstances(arguments))
        except KeyError as error:
            print(f"error: all clips of {error} are needed, here or with --held-out", file=sys.stderr)
            return 2
        write_pictures(options.report, samples, makers, prompts)
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = (*FLOOR, *ROWS)
    parser.add_argument("--rows", nargs="+", choices=names, metavar="ROW", help=f"default: all of {', '.join(names)}")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--prompt-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="clips a prompt")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--shard", type=shard, default=(0, 1), metavar="I/N", help="only every Nth prompt, from the Ith"
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--signs", action="store_true", help="swap left/right and rising/falling on the same seed")
    other.add_argument("--held-out", action="store_true", help="ask for combinations that no training saw")
    other.add_argument(
        "--report",
        type=Path,
        metavar="FOLDER",
        help="where results.md, its tables, plots and pictures go, when all is there",
    )
    parser.add_argument("--override", action="append", default=[], help="for every row, such as device=cuda")
    return parser


def sampled(folder: Path, prompts: Sequence[Prompt], options: argparse.Namespace) -> Samples:
    """All that a folder has of these prompts, seeds and overrides."""
    overrides = tuple(options.override)
    known = {row: made_with(row, overrides) for row in (*FLOOR, *ROWS)}
    return Samples.of(Results(folder, made_by(overrides)), tasks(known, prompts, options.seeds))


def write_report(folder: Path, samples: Samples, held_out: Samples, tables: str, told: str) -> None:
    """Write results.md and results_tables.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(report(samples, held_out, told), encoding="utf-8")
    unseen = summary(held_out, HELD_OUT_SECTIONS)
    text = f"# Results: every number\n\nWhat they say is in [results.md](results.md).\n\n{tables}\n{unseen}"
    (folder / "results_tables.md").write_text(text, encoding="utf-8")


def write_pictures(
    folder: Path, samples: Samples, makers: Mapping[str, Callable[[], Maker]], prompts: Sequence[Prompt]
) -> None:
    """Write the plots, and one prompt's pictures."""
    from evaluation import pictures, plots  # plots needs matplotlib, which measuring does not

    folder.mkdir(parents=True, exist_ok=True)
    plots.write_operations(folder / "results_operations.png", samples)
    plots.write_te(folder / "results_te.png", samples)
    pictures.write_rows(folder / "results_rows.png", makers, prompts[PICTURED % len(prompts)])


def expert_maker(overrides: Sequence[str]) -> Maker:
    """A row's clips by confiner, its experts loaded."""
    confiner = api.load("tiny", *overrides)

    def make(prompt: Prompt, seed: int) -> Made:
        video = confiner.generate(prompt.text, seed=seed)
        return Made(video.frames.permute(0, 3, 1, 2).float() / 255, video.evaluations, video.passes)

    return make


@functools.cache
def made_with(row: str, overrides: tuple[str, ...]) -> str:
    """Eight digits that change with whatever is set for a row: clips made with other settings are not its own."""
    settings = settings_of(compose((*ROWS[row], *overrides))) if row in ROWS else Settings()
    told = {
        name: _set(asdict(getattr(settings, name)), asdict(getattr(Settings(), name)))
        for name in ("experts", "scheduler", "long_video")
    }
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


def _set(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the schema's defaults: a setting that is new and unused changes nothing."""
    inner = {key: _set(value, defaults[key]) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in inner.items() if key not in defaults or value not in (defaults[key], {})}


def made_by(overrides: Sequence[str]) -> str:
    """A hash of all weights, and what is overridden for every row."""
    files = sorted(EMBEDDED.rglob("*.safetensors"))
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()
    return "\n".join((f"embedded weights {digest[:16]}", *overrides, ""))


def circumstances(arguments: Sequence[str] | None, script: str = "evaluate_embedded") -> str:
    """The command, the device and the versions."""
    given = sys.argv[1:] if arguments is None else arguments
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    versions = {"torch": torch, "diffusers": diffusers, "transformers": transformers}
    return (
        f"Command: `python scripts/{script}.py {shlex.join(given)}`\n\n"
        f"Device: {device}, {torch.get_num_threads()} threads. Python {platform.python_version()}, "
        f"{', '.join(f'{name} {module.__version__}' for name, module in versions.items())}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())

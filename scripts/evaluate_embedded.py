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
from confiner_cli.config.hydra import compose, settings_of
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.weights.model_ref import EMBEDDED
from evaluation.lines import OtherResultsError
from evaluation.pages import write_pages, write_pictures, write_text
from evaluation.prompts import Prompt, draw, draw_held_out
from evaluation.report import NotMeasuredError
from evaluation.results import Results
from evaluation.rows import FLOOR, HELD_OUT, ROWS
from evaluation.run import Made, Maker, evaluate, reconstructed, rendered, shard, tasks
from evaluation.sample import Samples
from evaluation.sections import HELD_OUT_SECTIONS, SECTIONS
from evaluation.signs import ROWS as SIGN_ROWS
from evaluation.signs import signs, swapped
from evaluation.summary import LEGEND, summary

ALL_ROWS = (*FLOOR, *ROWS)
HELD_OUT_FOLDER = "held_out"
PICTURED = 9
"""The number of the prompt that is shown."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.report and (
        options.rows or options.shard != (0, 1) or not (options.out / HELD_OUT_FOLDER).is_dir()
    ):
        print(
            "error: --report needs all rows, and what --held-out has measured; see `make results`",
            file=sys.stderr,
        )
        return 2
    try:
        measure(options)
        tell(options, circumstances(arguments))
    except (OtherResultsError, NotMeasuredError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ConfinerError as error:
        print(error.lines(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return 130
    return 0


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
        text = f"{summary(samples, HELD_OUT_SECTIONS if options.held_out else SECTIONS)}\n{LEGEND}"
    text = f"{text}\n{told}"
    write_text(folder / "summary.md", text)
    print(text)
    if options.report:
        unseen = list(islice(draw_held_out(options.prompt_seed), options.prompts))
        held_out = Results(options.out / HELD_OUT_FOLDER, made_by(options.override))
        options.report.mkdir(parents=True, exist_ok=True)
        write_pages(
            options.report,
            samples,
            Samples.of(held_out, tasks(marked(options, HELD_OUT), unseen, options.seeds)),
            told,
        )
        write_pictures(
            options.report, samples, makers(options.override), prompts[PICTURED % len(prompts)]
        )


def folder_of(options: argparse.Namespace) -> Path:
    """Where the results go."""
    folder: Path = options.out / (
        "signs" if options.signs else HELD_OUT_FOLDER if options.held_out else ""
    )
    return folder


def chosen_prompts(options: argparse.Namespace) -> list[Prompt]:
    """As many as were asked for."""
    return list(
        islice((draw_held_out if options.held_out else draw)(options.prompt_seed), options.prompts)
    )


def chosen_rows(options: argparse.Namespace) -> Sequence[str]:
    """Those that were asked for, or the usual ones."""
    return options.rows or (
        SIGN_ROWS if options.signs else HELD_OUT if options.held_out else ALL_ROWS
    )


def marked(options: argparse.Namespace, rows: Sequence[str]) -> dict[str, str]:
    """Rows with what they are made with."""
    return {row: made_with(row, tuple(options.override)) for row in rows}


def makers(overrides: Sequence[str]) -> dict[str, Callable[[], Maker]]:
    """What makes each row's clips, got ready when it is called."""
    experts = {name: functools.partial(expert_maker, (*ROWS[name], *overrides)) for name in ROWS}
    return {"renders": rendered, "reconstructions": reconstructed, **experts}


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows",
        nargs="+",
        choices=ALL_ROWS,
        metavar="ROW",
        help=f"default: all of {', '.join(ALL_ROWS)}",
    )
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--prompt-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="clips a prompt")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--shard",
        type=shard,
        default=(0, 1),
        metavar="I/N",
        help="only every Nth prompt, from the Ith",
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
    parser.add_argument(
        "--override", action="append", default=[], help="for every row, such as device=cuda"
    )
    return parser


def expert_maker(overrides: Sequence[str]) -> Maker:
    """A row's clips by confiner, its experts loaded."""
    confiner = api.load("tiny", *overrides)

    def make(prompt: Prompt, seed: int) -> Made:
        video = confiner.generate(prompt.text, seed=seed)
        return Made(video.frames.permute(0, 3, 1, 2).float() / 255, video.evaluations, video.passes)

    return make


@functools.cache
def made_with(row: str, overrides: tuple[str, ...]) -> str:
    """Eight digits that change with whatever is set for a row.

    Clips that were made with other settings are not its own.
    """
    settings = settings_of(compose((*ROWS[row], *overrides))) if row in ROWS else Settings()
    told = {
        name: _set(asdict(getattr(settings, name)), asdict(getattr(Settings(), name)))
        for name in ("experts", "scheduler", "long_video")
    }
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


def _set(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the schema's defaults: a setting that is new and unused changes nothing."""
    inner = {
        key: _set(value, defaults[key]) if isinstance(value, dict) else value
        for key, value in values.items()
    }
    return {
        key: value
        for key, value in inner.items()
        if key not in defaults or value not in (defaults[key], {})
    }


def made_by(overrides: Sequence[str]) -> str:
    """A hash of all weights, and what is overridden for every row."""
    files = sorted(EMBEDDED.rglob("*.safetensors"))
    digest = hashlib.sha256(
        b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)
    ).hexdigest()
    return "\n".join((f"embedded weights {digest[:16]}", *overrides, ""))


def circumstances(arguments: Sequence[str] | None, script: str = "evaluate_embedded") -> str:
    """The command, the device and the versions."""
    given = sys.argv[1:] if arguments is None else arguments
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    )
    versions = {"torch": torch, "diffusers": diffusers, "transformers": transformers}
    return (
        f"Command: `python scripts/{script}.py {shlex.join(given)}`\n\n"
        f"Device: {device}, {torch.get_num_threads()} threads. Python {platform.python_version()}, "
        f"{', '.join(f'{name} {module.__version__}' for name, module in versions.items())}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())

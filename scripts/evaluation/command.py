"""What the commands that evaluate have in common: options, exit codes, what they ran on."""

from __future__ import annotations

import argparse
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import diffusers
import torch
import transformers

from confiner_cli.errors import ConfinerError
from evaluation.lines import OtherResultsError
from evaluation.report import NotMeasuredError


def shared_options(rows: Sequence[str], prompts: int, seeds: int) -> argparse.ArgumentParser:
    """A parent parser: what to measure, and where the results go.

    Args:
        rows: those that can be asked for; without `--rows` they are all meant.
        prompts: how many, unless told.
        seeds: how many a prompt, unless told.
    """
    made = argparse.ArgumentParser(add_help=False)
    names = ", ".join(rows)
    made.add_argument("--rows", nargs="+", choices=rows, metavar="ROW", help=f"of {names}")
    made.add_argument("--prompts", type=int, default=prompts, help="every 8 have all motions")
    made.add_argument("--prompt-seed", type=int, default=0)
    made.add_argument("--seeds", type=int, default=seeds, help="clips a prompt")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument(
        "--shard", type=shard, default=(0, 1), metavar="I/N", help="only every Nth, from the Ith"
    )
    made.add_argument(
        "--override", action="append", default=[], help="for every row, such as device=cuda"
    )
    return made


def shard(text: str) -> tuple[int, int]:
    """An argument such as `1/3`, the first of three parts, as the first index and the step."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text} is not like 1/3")
    return int(number) - 1, int(count)


def exit_code(work: Callable[[], None]) -> int:
    """Do an evaluation's work; what goes wrong is said on stderr."""
    try:
        work()
    except (OtherResultsError, NotMeasuredError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ConfinerError as error:
        print(error.lines(), file=sys.stderr)
        return error.exit_code
    except subprocess.CalledProcessError as error:  # its own stderr has said why
        return error.returncode
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def circumstances(arguments: Sequence[str] | None, script: str) -> str:
    """The command, the device and the versions, as Markdown.

    Args:
        arguments: of the script; None is the process's own.
        script: its name, without `.py`.
    """
    given = sys.argv[1:] if arguments is None else arguments
    device = f"{platform.machine()} CPU"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    versions = {"torch": torch, "diffusers": diffusers, "transformers": transformers}
    libraries = ", ".join(f"{name} {module.__version__}" for name, module in versions.items())
    return (
        f"Command: `python scripts/{script}.py {shlex.join(given)}`\n\n"
        f"Device: {device}, {torch.get_num_threads()} threads. Python {platform.python_version()}, "
        f"{libraries}.\n"
    )

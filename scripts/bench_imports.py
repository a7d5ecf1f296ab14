"""What a process of confiner takes before and around its networks, against `import torch`.

    python scripts/bench_imports.py

Every row is a process of its own, the rows in turns. User seconds are the CPU's, of one thread;
seconds are the clock's and mean something on an idle machine. Medians; the ratios are medians of
each round's own. The last table is a shell's loop over prompts.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from confiner_cli.runs.provenance import versions

PROMPT = "a red heart rising over the sea"
TORCH = "import torch"
IMPORTS = """
import importlib
from confiner_cli.experts.lean_imports import OWN_PROCESS, import_libraries
OWN_PROCESS.set(True)
for name in ("commands.generate", "runs.jobs", "runs.provenance", "config.resolve"):
    importlib.import_module(f"confiner_cli.{name}")
import_libraries()
importlib.import_module("confiner_cli.runs.execute")
for name in ("animatediff", "stable_diffusion", "modelscope"):
    importlib.import_module(f"confiner_cli.experts.families.{name}")
"""
"""What `confiner generate` imports with the embedded experts, in its order."""


@dataclass(frozen=True)
class Taken:
    """What a process took: seconds of the CPU in its own code, and by the clock."""

    user: float
    wall: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", type=int, default=5, help="processes of the shell's loop")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, 1 thread, {versions()}\n")
    rounds = [_round() for _ in range(options.rounds)]
    print("\n".join(_table(rounds)))
    seconds = _loop(options.loop)
    print(f"\nA loop over {options.loop} prompts: {seconds:.2f} s a video")


def _round() -> dict[str, Taken]:
    """Each row once."""
    command = (sys.executable, "-m", "confiner_cli")
    with tempfile.TemporaryDirectory() as folder:
        made = f"output.dir={folder}/made"
        return {
            "`import torch`": taken(sys.executable, "-c", TORCH),
            "imports of a run": taken(sys.executable, "-c", IMPORTS),
            "`generate`, whole": taken(*command, "generate", f"prompt={PROMPT}", "seed=1", made),
            "`--help`": taken(*command, "--help"),
            "`generate --cfg job`": taken(*command, "generate", "--cfg", "job"),
            "`plan`": taken(*command, "plan"),
        }


def taken(*command: str) -> Taken:
    """What a command takes, which says nothing and ends well."""
    started = time.perf_counter()
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Taken(usage.ru_utime, time.perf_counter() - started)


def _table(rounds: Sequence[dict[str, Taken]]) -> list[str]:
    first = next(iter(rounds[0]))
    lines = ["| process | user s | times torch's | s |", "|---|---|---|---|"]
    for name in rounds[0]:
        user = statistics.median(each[name].user for each in rounds)
        wall = statistics.median(each[name].wall for each in rounds)
        times = statistics.median(each[name].user / each[first].user for each in rounds)
        lines.append(f"| {name} | {user:.2f} | {times:.2f} | {wall:.2f} |")
    return lines


def _loop(count: int) -> float:
    """Seconds a video where a shell starts a process for each."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            place = Path(folder) / str(number)
            words = (f"prompt={PROMPT}", f"seed={number}", f"output.dir={place}")
            taken(sys.executable, "-m", "confiner_cli", "generate", *words)
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    main()

"""Seconds and memory against length: each video by a process of its own, on the command line."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from confiner_cli.runs.record import RunRecord, read_run
from evaluation.lines import Lines
from evaluation.summary import table
from long.rows import CONFINER

PROMPT = "a blue square standing still over the grass"
COLUMNS = ("num_frames", "repeat", "seconds", "peak_memory_bytes")
KEY = COLUMNS[:2]


def measure(lengths: Sequence[int], repeats: int, overrides: Sequence[str], results: Lines) -> None:
    """Make and keep what is not in the results yet."""
    for repeat in range(repeats):
        for length in lengths:
            if (str(length), str(repeat)) not in results.lines:
                record = run(length, overrides)
                seconds, memory = float(record.seconds["total"]), record.peak_memory_bytes
                results.add(dict(zip(COLUMNS, (length, repeat, seconds, memory), strict=True)))
                print(
                    f"{length} frames · {seconds:.0f} s · {memory / 2**20:.0f} MiB",
                    file=sys.stderr,
                    flush=True,
                )


def run(num_frames: int, overrides: Sequence[str]) -> RunRecord:
    """The record of a video of so many frames; its files are removed.

    Raises:
        subprocess.CalledProcessError: the command failed; its stderr has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        chosen = [f"prompt={PROMPT}", "seed=1", f"num_frames={num_frames}", f"output.dir={out}"]
        words = [*CONFINER["confiner_long"], *chosen, *overrides]
        command = [sys.executable, "-m", "confiner_cli", "generate", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return read_run(out)


def lengths_table(results: Lines) -> str:
    """A Markdown table of medians, shortest first; the last column is against the line above."""
    lines, before = [], (0, 0.0)
    for length in sorted({int(line["num_frames"]) for line in results.lines.values()}):
        of_length = [line for line in results.lines.values() if int(line["num_frames"]) == length]
        seconds = median(float(line["seconds"]) for line in of_length)
        memory = median(float(line["peak_memory_bytes"]) for line in of_length)
        further = f"{(seconds - before[1]) / (length - before[0]):.3f}" if before[0] else "-"
        cells = (str(length), str(len(of_length)), f"{seconds:.1f}", f"{seconds / length:.3f}")
        lines.append((*cells, f"{memory / 2**20:.0f}", further))
        before = (length, seconds)
    header = (
        "frames",
        "n",
        "seconds",
        "seconds a frame",
        "peak memory, MiB",
        "seconds a further frame",
    )
    return table(header, lines)

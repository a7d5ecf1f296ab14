"""One long video on one worker and on two: `python scripts/bench_workers.py [key=value ...]`.

Runs `confiner generate executor=processes` in turns with one thread a worker, once with structures
that follow each other and once with independent ones. A table in Markdown has the medians:

- seconds: `seconds.total` of run.json: workers are asked to load, ... the contact sheet is written.
- speed-up: of one worker's seconds, in the same round.
- driver: the share of that time in which the driver itself was at work, and waited for nobody.
- planned, error: what `confiner plan` would have said of it: from the tasks' times in the run with
  one worker before; for one worker from that of the round before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from confiner_cli.config.job import Job
from confiner_cli.config.resolve import resolve
from confiner_cli.runs.job_graph import graph_of_job
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.runs.workers.measured import Measured, known
from confiner_cli.runs.workers.simulation import simulate
from machine import machine

VIDEO = ("prompt=a red heart rising over the sea", "seed=1", "long_video=confiner_long")
BY_WORKERS = ("executor=processes", "threads=1", "device=cpu")
VIDEOS: Mapping[str, Sequence[str]] = {
    "independent": ("long_video.turn=false",),
    "following": ("long_video.turn=true",),
}
"""Structures: the embedded experts turn motions, so each looks at the one before it."""


@dataclass(frozen=True)
class Run:
    """Seconds of a run, the driver's share of them, and what had been planned."""

    seconds: float
    driver: float
    planned: float | None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[2], help="beside one")
    parser.add_argument("words", nargs="*", help="settings of the videos: num_frames=160")
    options = parser.parse_args()
    words = options.words or ["num_frames=160"]
    print(f"{' '.join(words)}; {machine()}; load {os.getloadavg()[0]:.1f}\n", flush=True)
    print("| structures | workers | seconds | speed-up | driver | planned | error |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, own in VIDEOS.items():
        for row in rows([*VIDEO, *words, *own], [1, *options.workers], options.rounds):
            print(f"| {name} | {row} |", flush=True)


def rows(words: Sequence[str], counts: Sequence[int], rounds: int) -> Iterator[str]:
    """The rows of one video, without its name."""
    job, runs = resolve(settings_of_words([*words, *BY_WORKERS])), dict[int, list[Run]]()
    before: Measured | None = None
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache  # what was measured before is not of this machine now
        for _ in range(rounds):
            for count in counts:
                planned = None if before is None else forecast(job, before, count)
                seconds, tasks = timed(words, count)
                found = known()[-1]
                runs.setdefault(count, []).append(
                    Run(seconds, found.driver * tasks / seconds, planned)
                )
                before = found if count == 1 else before
    for count in counts:
        yield row(count, runs[count], runs[1])


def forecast(job: Job, before: Measured, count: int) -> float:
    """What a plan would say, from what tasks took before."""
    return simulate(graph_of_job(job), before.seconds(job.num_frames), count).total


def row(count: int, runs: Sequence[Run], ones: Sequence[Run]) -> str:
    """Medians over rounds; ratios within them."""
    pairs = list(zip(ones, runs, strict=True))
    gain = statistics.median(one.seconds / run.seconds for one, run in pairs)
    planned = [run for run in runs if run.planned is not None]
    found = f"{statistics.median(run.planned or 0.0 for run in planned):.1f}" if planned else ""
    errors = [(run.planned or 0.0) / run.seconds - 1 for run in planned]
    error = f"{statistics.median(errors):+.0%}" if errors else ""
    seconds = statistics.median(run.seconds for run in runs)
    driver = statistics.median(run.driver for run in runs)
    return f"{count} | {seconds:.1f} | {gain:.2f} | {driver:.1%} | {found} | {error}"


def timed(words: Sequence[str], count: int) -> tuple[float, int]:
    """`seconds.total` of a run, and how many tasks it had."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "confiner_cli", "generate", *words, *BY_WORKERS]
        place = f"output.dir={folder}/run"
        subprocess.run([*command, f"workers={count}", place], check=True, capture_output=True)
        events = (Path(folder) / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()
        facts = json.loads((Path(folder) / "run" / "run.json").read_text(encoding="utf-8"))
    wrote = sum(json.loads(line)["event"] == "wrote" for line in events)
    return facts["seconds"]["total"], 2 * (wrote - 2)


if __name__ == "__main__":
    main()

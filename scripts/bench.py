"""Where the time of a whole process goes, and how it compares with diffusers.

    python scripts/bench.py

Five tables, all of this one run:

- *whole processes*: `confiner generate` from its start to its end, with the refinement and without,
  in turns with a process that makes and saves the draft by diffusers' AnimateDiffPipeline;
- *one process, split*: what its main thread was doing; what nothing explains has a row of its own.
  Encoding goes on beside it, and costs what is waited for it;
- *overhead*: runs with networks that are loaded already, over the seconds of their networks;
- *networks*: their operations, as `confiner plan` counts them, and the time that these alone would
  take at the speed of a product of matrices on this machine;
- *against AnimateDiffPipeline*: the control expert alone in this process, in turns.

Medians; of pairs where two things are compared. Nothing else should be running.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

import animatediff_pipeline
from confiner_cli.api import load
from confiner_cli.config.hydra import settings_with
from confiner_cli.config.job import Job
from confiner_cli.config.resolve import resolve
from confiner_cli.costs.estimate import rows
from confiner_cli.costs.table import companions, costs
from confiner_cli.experts.export import export
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.runs.execute import execute_jobs
from confiner_cli.runs.folder import RunFolder
from confiner_cli.runs.provenance import versions
from whole.process import START
from whole.processes import HERE, seconds_of, told
from whole.split import NETWORK, REST, Split
from whole.watch import HASHING, IMPORTS, LOAD, RECORDS, SHEET, WAITING, watched

PROMPT = "a red heart rising over the sea"
COMMAND = ("generate", f"prompt={PROMPT}", "seed=1")
DRAFT = ("scheduler.refinement.num_inference_steps=0", "output.structure=false")
"""What leaves of a run what the peer does: the control expert alone, saved once."""
AROUND = (LOAD, WAITING, RECORDS, SHEET, HASHING, REST)
SIDE = 1024
"""Of the matrices whose product says what the machine can do."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--schedulers", nargs="+", default=["steady", "confiner_9"])
    options = parser.parse_args()
    peak = matmul_peak()
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"{peak / 1e9:.0f} GFLOP/s in a product of matrices, {versions()}\n"
    )
    for table in tables(options.pairs, options.schedulers, peak):
        print("\n".join(table), end="\n\n", flush=True)


def tables(pairs: int, schedulers: Sequence[str], peak: float) -> Iterator[Iterable[str]]:
    """The tables as lines of Markdown.

    Args:
        pairs: how often everything is done.
        schedulers: whose overhead is measured.
        peak: operations a second of the machine.
    """
    yield whole_processes(pairs)
    yield split_process(pairs, peak)
    splits = {scheduler: warm_runs(scheduler, pairs) for scheduler in schedulers}
    yield overhead(splits)
    yield networks(splits, peak)
    yield against_diffusers(pairs)


def whole_processes(pairs: int) -> Iterator[str]:
    """Seconds from a process' start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        control = settings_with(["experts=tiny"]).experts.role("control")
        (exported,) = export({"control": control}, place / "exported")
        peer = (str(HERE / "peer.py"), str(exported), PROMPT, str(place / "peer.mp4"))
        runs = [
            (
                seconds_of(*confiner(place / f"whole-{number}")),
                seconds_of(*confiner(place / f"draft-{number}", *DRAFT)),
                seconds_of(*peer),
            )
            for number in range(pairs)
        ]
    whole, draft, theirs = zip(*runs, strict=True)
    yield "| whole process | s |"
    yield "|---|---|"
    yield f"| `confiner generate` | {median(whole):.2f} |"
    yield f"| the same, the draft alone | {median(draft):.2f} |"
    yield f"| Python with AnimateDiffPipeline, the same draft | {median(theirs):.2f} |"
    ratio = median(a / b for a, b in zip(draft, theirs, strict=True))
    yield f"| draft alone, over AnimateDiffPipeline's | {ratio:.2f} |"


def confiner(place: Path, *words: str) -> tuple[str, ...]:
    """What Python is given to make a video in a new folder."""
    return "-m", "confiner_cli", *COMMAND, *words, f"output.dir={place}"


def split_process(pairs: int, peak: float) -> Iterator[str]:
    """What the main thread of one process was doing, and what each could not be without."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for number in range(pairs):
            place = Path(folder) / str(number)
            place.mkdir()
            found.append(told(place, START, *COMMAND, f"output.dir={place / 'run'}"))
    python = [seconds_of("-c", "pass") for _ in range(pairs)]
    with_torch = [seconds_of("-c", "import torch") for _ in range(pairs)]
    limits = {START: median(python), IMPORTS: median(with_torch) - median(python)}
    job = job_of("steady")
    limits |= {NETWORK + role: flops / peak for role, flops in operations(job).items()}
    names = dict.fromkeys(name for one in found for name in one.seconds)
    seconds = {name: median(one.seconds.get(name, 0) for one in found) for name in names}
    yield "| one process | s | limit, s |"
    yield "|---|---|---|"
    for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
        yield f"| {name} | {value:.3f} | {told_limit(limits.get(name))} |"
    total = median(sum(one.seconds.values()) for one in found)
    yield f"| in all | {total:.3f} | {sum(limits.values()):.3f} |"


def told_limit(seconds: float | None) -> str:
    """A cell: empty where there is no limit to speak of."""
    return "" if seconds is None else f"{seconds:.3f}"


def warm_runs(scheduler: str, count: int) -> list[Split]:
    """Runs into new folders with networks that are loaded: what the thread was doing."""
    with NetworkCache() as cache:
        return [warm_run(job_of(scheduler), cache) for _ in range(count + 1)][1:]


def warm_run(job: Job, cache: NetworkCache) -> Split:
    """One of them."""
    with tempfile.TemporaryDirectory() as folder, watched() as split:
        execute_jobs([job], RunFolder(Path(folder)), {}, cache)
        split.mark()
        return split


def job_of(scheduler: str) -> Job:
    """What is made."""
    return resolve(replace(settings_with([f"scheduler={scheduler}"]), prompt=PROMPT, seed=1))


def overhead(splits: Mapping[str, Sequence[Split]]) -> Iterator[str]:
    """What a run adds to its networks, and what that is."""
    yield f"| scheduler | run, s | networks, s | overhead | {' | '.join(AROUND)} |"
    yield "|---" * (4 + len(AROUND)) + "|"
    for scheduler, runs in splits.items():
        total, in_networks = median(run.total for run in runs), median(run.networks for run in runs)
        share = median(run.total / run.networks - 1 for run in runs)
        parts = [median(run.seconds[name] for run in runs) for name in AROUND]
        cells = [f"{total:.3f}", f"{in_networks:.3f}", f"{100 * share:.1f} %"]
        yield f"| {' | '.join([scheduler, *cells, *(f'{part:.3f}' for part in parts)])} |"


def networks(splits: Mapping[str, Sequence[Split]], peak: float) -> Iterator[str]:
    """Seconds of each network beside those of its operations alone."""
    yield "| scheduler | network | calls | GFLOP | s | GFLOP/s | limit, s | share |"
    yield "|---|---|---|---|---|---|---|---|"
    for scheduler, runs in splits.items():
        for role, flops in operations(job_of(scheduler)).items():
            name = NETWORK + role
            seconds = median(run.seconds[name] for run in runs)
            calls = runs[0].calls[name]
            yield (
                f"| {scheduler} | {role} | {calls} | {flops / 1e9:.1f} | {seconds:.3f} "
                f"| {flops / seconds / 1e9:.1f} | {flops / peak:.3f} "
                f"| {100 * flops / peak / seconds:.0f} % |"
            )


def operations(job: Job) -> dict[str, float]:
    """Operations of a run by the role of the network, as a plan counts them."""
    found: Counter[str] = Counter()
    for row in rows(job):
        assert row.flops is not None, f"{row.role}: its network is not in the table"
        found[row.role] += int(row.flops)
    texts = sum(1 + (job.guidance[role].scale != 1) for role in job.asked)
    text, _ = companions(job.experts["spatial"].architecture or "")
    return {"text": texts * costs()[text].flops(1, *job.size), **found}


def matmul_peak() -> float:
    """Operations a second in a product of matrices, the best of several."""
    one, other = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    return 2 * SIDE**3 / min(stopwatch(lambda: one @ other) for _ in range(20))


def against_diffusers(pairs: int) -> Iterator[str]:
    """Seconds of confiner's and of diffusers' control stage, decoded frames included.

    In turns, after one warm-up each.
    """
    control = settings_with(["experts=tiny"]).experts.role("control")
    pipeline = animatediff_pipeline.from_export(control, torch.device("cpu"))
    confiner = load("tiny", "scheduler.refinement.num_inference_steps=0")

    def ours() -> object:
        return confiner.generate(PROMPT, seed=1).frames

    def theirs() -> object:
        return animatediff_pipeline.sample(pipeline, PROMPT, 16, (64, 64), steps=4, seed=1)

    found = [(stopwatch(ours), stopwatch(theirs)) for _ in range(pairs + 1)][1:]
    yield "| control alone, 4 steps, 16 frames, in memory | s |"
    yield "|---|---|"
    yield f"| confiner | {median(one for one, _ in found):.3f} |"
    yield f"| AnimateDiffPipeline | {median(other for _, other in found):.3f} |"
    yield f"| confiner over AnimateDiffPipeline | {median(a / b for a, b in found):.3f} |"


def stopwatch(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

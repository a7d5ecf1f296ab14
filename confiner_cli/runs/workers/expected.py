"""What the tasks of a job should take: as measured in its last run here, or counted. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from confiner_cli.config.job import Job
from confiner_cli.costs.compiling import EMBEDDED, PLAIN_SPEED
from confiner_cli.costs.estimate import rows
from confiner_cli.experts.device import DTYPES
from confiner_cli.runs.tasks import Kind, Task, TaskGraph
from confiner_cli.runs.workers.measured import Measured, key_of, known
from confiner_cli.runs.workers.simulation import Forecast, Seconds, simulate

GPU_SPEED = 50e12
"""Operations a second of a GPU in 16 bits: assumed, of none has it been measured."""
START = {"processes": 1.0, "ray": 8.0}
"""Seconds until workers are ready, where they have not been measured: those of two cores."""
DRIVER = 0.005
"""Seconds of a driver for each result, likewise."""
ENCODE, ENCODE_A_PIXEL = 0.07, 3e-8
"""Seconds of an encoder for the frames of a task, and for each of their pixels, likewise."""
LARGEST = 1024
"""Workers that are tried to see where a run stops to scale."""
GAIN = 1.05
"""What more workers must bring: less is no gain."""
TASKS_OF_STAGE = {
    "structure": Kind.STRUCTURE,
    "refinement": Kind.WINDOW,
    "encode": Kind.WINDOW,
    "bridge": Kind.WINDOW,
}


@dataclass(frozen=True)
class Expected:
    """What a run should take.

    Attributes:
        seconds: of its tasks.
        source: where the numbers are from.
        disk: bytes that its folder keeps for each frame; 0 where that is not known.
    """

    seconds: Seconds
    source: str
    disk: float = 0.0


def expected(job: Job, threads: int) -> Expected | None:
    """What the tasks of a job should take on workers; None where nobody knows.

    Args:
        job: of a video that ends.
        threads: how many a worker would compute with on a CPU.
    """
    found = _measured(job, threads)
    if found is None:
        return counted(job, threads)
    executor, seconds = job.settings.executor, found.seconds(job.num_frames)
    own = found.executor == executor
    if not own:  # in one process there was no driver
        seconds = replace(seconds, start=START.get(executor, 0.0), driver=DRIVER)
    with_ = "" if found.device != "cpu" else f", {found.threads} threads"
    source = f"measured in a run of {found.when} on {found.device}{with_}, {found.dtype}"
    if not own:
        source += f", with executor={found.executor}"
    return Expected(seconds, source, found.disk)


def _measured(job: Job, threads: int) -> Measured | None:
    """The latest run that tells: where there is a choice one by the same executor."""
    settings, key = job.settings, key_of(job)
    asked = None if settings.dtype == "auto" else DTYPES[settings.dtype]
    found = [each for each in known() if each.key == key and asked in (None, each.dtype)]
    if settings.device == "cpu":
        found = [each for each in found if each.device == "cpu"]
    alike = [each for each in found if each.device != "cpu" or each.threads == threads]
    by_executor = [each for each in alike if each.executor == settings.executor]
    return next(iter([*by_executor[-1:], *alike[-1:], *found[-1:]]), None)


def counted(job: Job, threads: int) -> Expected | None:
    """What tasks should take by their operations, at a rate that is stated.

    None where nobody knows a network. Arguments as of `expected`.
    """
    embedded = all(job.experts[role].architecture in EMBEDDED for role in job.asked)
    on_cpu = embedded or job.settings.device == "cpu"
    rate = PLAIN_SPEED * threads if on_cpu else GPU_SPEED
    flops: Counter[Kind] = Counter()
    for row in rows(job):
        if row.flops is None:
            return None
        flops[TASKS_OF_STAGE.get(row.stage, Kind.CHUNK)] += int(row.flops)
    timeline, previewed = job.timeline, bool(job.settings.output.structure)
    structures, windows = int(timeline.structure_count), int(timeline.window_count)
    shown = windows + structures * previewed
    seconds = Seconds(
        of={
            Kind.STRUCTURE: flops[Kind.STRUCTURE] / structures / rate,
            Kind.WINDOW: flops[Kind.WINDOW] / windows / rate,
            Kind.PREVIEW: flops[Kind.CHUNK] / shown / rate,
            Kind.CHUNK: flops[Kind.CHUNK] / shown / rate,
        },
        encode=ENCODE + ENCODE_A_PIXEL * timeline.length * math.prod(job.size),
        start=START.get(job.settings.executor, 0.0),
        driver=DRIVER,
    )
    where = f"{threads} threads of a CPU" if on_cpu else "a GPU, which is assumed"
    return Expected(seconds, f"counted, at {rate / 1e9:.0f} GFLOP/s of {where}")


def stops_at(graph: TaskGraph, seconds: Seconds) -> Forecast:
    """The run with as few workers as are of use: twice as many would gain next to nothing."""
    forecasts = []
    workers = 1
    while workers <= LARGEST:
        forecasts.append(simulate(graph, seconds, workers))
        workers *= 2
    least = min(each.total for each in forecasts)
    return next(each for each in forecasts if each.total <= least * GAIN)


def limits(graph: TaskGraph, seconds: Seconds) -> Iterator[tuple[float, str]]:
    """What no number of workers makes shorter: seconds, and why."""
    structures, windows = int(graph.timeline.structure_count), int(graph.timeline.window_count)
    previews = structures * graph.previewed
    last = Task(Kind.CHUNK, windows - 1)
    chain = _chain(graph, seconds, last)
    why = "a structure, its window and its frames come one after another"
    if graph.follows:
        why = f"{structures} structures follow each other, {seconds.of[Kind.STRUCTURE]:.2g} s each"
    yield chain, why
    yield max(windows, previews) * seconds.encode, "one encoder has the frames of all windows"
    yield (structures + 2 * windows + previews) * seconds.driver, "one driver has all results"


def _chain(graph: TaskGraph, seconds: Seconds, last: Task) -> float:
    """The longest way to a task."""
    ends: dict[Task, float] = {}
    # From the first structure on: a long chain would be too deep for a recursion.
    of_structures = [Task(Kind.STRUCTURE, n) for n in range(int(graph.timeline.structure_count))]
    near = [Task(Kind.WINDOW, n) for n in (last.number - 1, last.number) if n >= 0]
    for task in (*of_structures, *near, last):
        needs = (ends[need] for need in graph.needs(task) if need in ends)
        ends[task] = max(needs, default=0.0) + seconds.of[task.kind]
    return ends[last]

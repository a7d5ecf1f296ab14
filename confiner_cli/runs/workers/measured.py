"""What the tasks of runs took on this machine, kept from run to run: for plans. No torch.

A run is known by a hash of all that decides what its tasks cost; no prompt is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, Any

from confiner_cli.config.job import Job
from confiner_cli.config.schema import HERE
from confiner_cli.files import atomic_write, own_cache
from confiner_cli.runs.tasks import Kind, Task
from confiner_cli.runs.workers.simulation import Seconds

if TYPE_CHECKING:
    from confiner_cli.runs.meter import Meter
    from confiner_cli.runs.ready import Ready

MOST = 300
"""Entries that are kept: the oldest go first."""


@dataclass(frozen=True)
class Measured:
    """What a run took.

    Attributes:
        key: of what it was made with (`key_of`).
        device, dtype, threads: where its networks computed.
        executor: who did its tasks.
        when: it ended, in ISO 8601.
        tasks: the median of each kind.
        cold: how much longer the first one took.
        encode: the median for the frames of a task.
        start: until the first worker was ready.
        driver: for each result; 0 where there was no driver.
        finish: after the last task, for each frame of the video.
        disk: bytes that the run's folder keeps, likewise.
    """

    key: str
    device: str
    dtype: str
    threads: int
    executor: str
    when: str
    tasks: Mapping[str, float]
    cold: Mapping[str, float] = field(default_factory=dict)
    encode: float = 0.0
    start: float = 0.0
    driver: float = 0.0
    finish: float = 0.0
    disk: float = 0.0

    def seconds(self, num_frames: float) -> Seconds:
        """For a video of so many frames."""
        return Seconds(
            of={Kind(kind): value for kind, value in self.tasks.items()},
            cold={Kind(kind): value for kind, value in self.cold.items()},
            encode=self.encode,
            start=self.start,
            driver=self.driver,
            finish=self.finish * num_frames,
        )


def key_of(job: Job) -> str:
    """A hash of what decides what a job's tasks take, but for the device."""
    settings, timeline = job.settings, job.timeline
    experts = [(role, asdict(job.experts[role])) for role in job.asked]
    walks = (job.structure, job.refinement, [job.guidance[role] for role in job.asked])
    spans = (timeline.length, len(timeline.refines(1)) if timeline.structure_count > 1 else 0)
    how = (settings.memory, settings.frame_batch, settings.compile, settings.output.structure)
    said = repr((experts, walks, job.size, spans, how, job.samples_structures))
    return hashlib.sha256(said.encode()).hexdigest()


def medians(took: Mapping[Task, float]) -> tuple[dict[str, float], dict[str, float]]:
    """By kind the median of all but the first, which loads networks; and what that took more."""
    tasks, cold = {}, {}
    for kind in Kind:
        first, *others = [seconds for task, seconds in took.items() if task.kind is kind] or [0.0]
        tasks[kind.value] = round(median(others or [first]), 6)
        cold[kind.value] = round(max(0.0, first - tasks[kind.value]), 6)
    return tasks, cold


def keep_seconds(job: Job, ready: Ready, meter: Meter, num_frames: int, folder: Path) -> None:
    """Keep what a run's tasks have taken, for the next plan of its like.

    Args:
        job: that was done.
        ready: what is known of its experts.
        meter: what it has cost, to the end.
        num_frames: of the video.
        folder: the run's.
    """
    meter.add_laps()
    if not meter.took:
        return  # all of it was there
    tasks, cold = medians(meter.took)
    by_workers = job.settings.executor != HERE
    finish = (monotonic() - meter.driven_until) / num_frames
    keep(
        Measured(
            key=key_of(job),
            device=ready.device,
            dtype=ready.dtype,
            threads=ready.threads,
            executor=job.settings.executor,
            when=_now(),
            tasks=tasks,
            cold=cold,
            encode=median(meter.encodings or [0.0]),
            start=meter.seconds["load"],
            driver=meter.driving / len(meter.took) if by_workers else 0.0,
            finish=finish,
            disk=sum(path.stat().st_size for path in folder.glob("*.*")) / num_frames,
        )
    )


def keep(measured: Measured) -> None:
    """Keep what a run took, in the place of what an earlier one did. Raises nothing."""
    with suppress(OSError, RuntimeError, ValueError):  # no home, no room: it was only measured
        entries = [each for each in known() if _place(each) != _place(measured)]
        kept = [*entries, measured][-MOST:]
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            content = json.dumps([asdict(each) for each in kept], indent=1)
            temporary.write_text(content, encoding="utf-8")


def known() -> Sequence[Measured]:
    """What is kept, the latest at the end; nothing where that cannot be read."""
    try:
        return [_read(facts) for facts in json.loads(_path().read_text(encoding="utf-8"))]
    except (OSError, RuntimeError, ValueError, TypeError):
        return []


def _now() -> str:
    """The time, to the minute."""
    return datetime.now().astimezone().isoformat(timespec="minutes")


def _read(facts: Mapping[str, Any]) -> Measured:
    return Measured(**facts)


def _place(measured: Measured) -> tuple[object, ...]:
    """Of these the latest is kept."""
    return (
        measured.key,
        measured.device,
        measured.dtype,
        measured.threads,
        measured.executor,
    )


def _path() -> Path:
    return own_cache("measured") / "tasks.json"

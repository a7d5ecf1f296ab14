"""What a run costs: evaluations, passes, seconds a stage and a task, memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, TypeAlias, TypeVar

import torch

from confiner_cli.config.schema import ROLES
from confiner_cli.method.walk import Step
from confiner_cli.runs.clock import Instant, now
from confiner_cli.runs.memory_peak import MemoryPeak
from confiner_cli.runs.record import RunRecord
from confiner_cli.runs.tasks import Task

Item = TypeVar("Item")
Lap: TypeAlias = tuple[str, Task | None, Instant, Instant]
"""The stage that was at work, the task, since when, until when."""


@dataclass
class Meter:
    """What this process has spent so far. Threads may add to it.

    Attributes:
        evaluations: denoiser calls by role.
        passes: what they cost, in passes through networks: a guided call is two.
        seconds: by stage, as far as they are known. Those of walks and of the VAE are the device's:
            a GPU is busy with them while the CPU goes on. `encode` goes on beside the others;
            `wait` is what was waited for it. Those of workers are summed up; `idle` is what was
            waited for them.
        took: seconds of each task that this run has done, in the order in which they ended.
        encodings: seconds of each task's frames in the encoder.
        driving: seconds that the main thread was at tasks itself, and waited for nobody.
        driven_until: when the last task was done, by the monotonic clock.
        stage: what is being done.
        task: for which task, where it is known.
        device: whose memory and time counts.
        started: when, by the monotonic clock.
        memory: the most of it that the process has held.
    """

    evaluations: Counter[str] = field(default_factory=Counter)
    passes: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    took: defaultdict[Task, float] = field(default_factory=lambda: defaultdict(float))
    encodings: list[float] = field(default_factory=list)
    driving: float = 0.0
    driven_until: float = 0.0
    stage: str = "load"
    task: Task | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    started: float = field(default_factory=monotonic)
    memory: MemoryPeak = field(default_factory=MemoryPeak)
    _laps: list[Lap] = field(default_factory=list, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, stage: str, seconds: float) -> None:
        """Add to a stage's seconds, from whichever thread."""
        with self._lock:
            self.seconds[stage] += seconds

    def wait(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call what may have to wait for the encoder."""
        started = monotonic()
        call(*arguments)
        self.add("wait", monotonic() - started)

    def take_over(self, spent: Mapping[str, Any]) -> None:
        """Add what another process has spent, as its own `costs_after` says."""
        self.evaluations.update(spent["evaluations"])
        self.passes.update(spent["passes"])
        self.memory.seen = max(self.memory.seen, spent["peak_memory_bytes"])
        for stage, seconds in spent["seconds"].items():
            if stage != "total":
                self.add(stage, seconds)

    def watch(self, stage: str, steps: Iterable[Step], _: int) -> Iterator[Step]:
        """Pass the steps of a walk on and count them: a `Watch`."""
        for step in self.timed(stage, steps):
            self.evaluations[step.visit.role] += 1
            self.passes[step.visit.role] += step.estimate.passes
            yield step

    def timed(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items on and count the seconds that they take to come, or to be computed."""
        started, self.stage = now(self.device), stage
        for item in items:
            self._laps.append((stage, self.task, started, now(self.device)))
            yield item
            started, self.stage = now(self.device), stage

    def costs_after(self, earlier: RunRecord) -> dict[str, Any]:
        """All of it, with what earlier processes have spent on a run, as its record has it."""
        self.add_laps()
        with self._lock:
            seconds = dict(self.seconds)
        for stage, before in earlier.seconds.items():
            seconds[stage] = seconds.get(stage, 0) + before
        total = seconds.pop("total", 0) + monotonic() - self.started
        rounded = {stage: round(value, 3) for stage, value in seconds.items()}
        rounded["total"] = round(total, 3)  # the last of them
        return {
            "evaluations": _summed(self.evaluations, earlier.evaluations),
            "passes": _summed(self.passes, earlier.passes),
            "seconds": rounded,
            "peak_memory_bytes": self._peak_memory(),
        }

    def add_laps(self) -> None:
        """Add those that are over to the seconds."""
        laps, self._laps = self._laps, []
        for stage, task, started, ended in laps:
            if not ended.has_come():
                self._laps.append((stage, task, started, ended))
                continue
            self.add(stage, ended.since(started))
            if task is not None:
                self.took[task] += ended.since(started)

    def _peak_memory(self) -> int:
        """The most bytes that one process held: on a GPU by torch, else by all of it."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return self.memory.value()


def _summed(counts: Counter[str], earlier: Mapping[str, int]) -> dict[str, int]:
    return {role: counts[role] + earlier.get(role, 0) for role in ROLES}

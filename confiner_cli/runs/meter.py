"""What a run costs: evaluations, passes, seconds a stage, memory."""

from __future__ import annotations

import resource
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

import torch
from torch import Tensor

from confiner_cli.config.schema import ROLES
from confiner_cli.method.walk import Step

Item = TypeVar("Item")


@dataclass
class Meter:
    """What a run has cost so far: evaluations (denoiser calls), passes through networks, seconds a stage.

    `stage` is what it is doing. `encode` goes on beside the others; `wait` is what was waited for it.
    """

    evaluations: Counter[str] = field(default_factory=Counter)
    passes: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    stage: str = "load"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    started: float = field(default_factory=monotonic)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def go_on_from(self, known: Mapping[str, Any]) -> None:
        """Begin with what an earlier process has recorded."""
        self.evaluations.update(known.get("evaluations", {}))
        self.passes.update(known.get("passes", {}))
        for stage, seconds in known.get("seconds", {}).items():
            self.seconds[stage] += seconds
        self.started -= self.seconds["total"]

    def add(self, stage: str, seconds: float) -> None:
        """Add to a stage's seconds, from whichever thread."""
        with self._lock:
            self.seconds[stage] += seconds

    def wait(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call what may have to wait for the encoder."""
        started = monotonic()
        call(*arguments)
        self.add("wait", monotonic() - started)

    def watch(self, stage: str, steps: Iterable[Step]) -> Iterator[Step]:
        """Pass the steps on and count them."""
        for step in self._timed(stage, steps):
            self.evaluations[step.visit.role] += 1
            self.passes[step.visit.role] += step.estimate.passes
            yield step

    def decode(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pass decoded frames on and count the seconds that decoding takes."""
        return self._timed("decode", frames)

    def _timed(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        started, self.stage = monotonic(), stage
        for item in items:
            self.add(stage, monotonic() - started)
            yield item
            started, self.stage = monotonic(), stage

    def costs(self) -> dict[str, Any]:
        """All of it, as run.json has it."""
        with self._lock:
            self.seconds.pop("total", None)  # the last of them
            self.seconds["total"] = monotonic() - self.started
            seconds = {stage: round(value, 3) for stage, value in self.seconds.items()}
        return {
            "evaluations": {role: self.evaluations[role] for role in ROLES},
            "passes": {role: self.passes[role] for role in ROLES},
            "seconds": seconds,
            "peak_memory_bytes": peak_memory(self.device),
        }


def peak_memory(device: torch.device) -> int:
    """The most bytes that were held: on a GPU by torch, else by the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

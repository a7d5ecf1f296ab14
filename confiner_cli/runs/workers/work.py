"""What a worker does: it holds experts warm, and does the tasks that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic

import torch

from confiner_cli.config.job import Job
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.compiling import keep_what_is_compiled
from confiner_cli.experts.device import device_of
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.method.pipeline import Watch
from confiner_cli.runs.joining import Decode
from confiner_cli.runs.loaded_pipeline import LoadedPipeline, load_pipeline
from confiner_cli.runs.memory_peak import MemoryPeak
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.perform import Performer
from confiner_cli.runs.ready import Ready, ready_of
from confiner_cli.runs.record import RunRecord
from confiner_cli.runs.tasks import Task
from confiner_cli.runs.watching import watching
from confiner_cli.runs.workers.travelling import Answer, Order, Setup, packed, unpacked


@dataclass
class Work:
    """The experts of jobs, at a worker's hand. Networks are loaded when they are first called.

    Attributes:
        setup: what the driver has said.
        networks: those that have been loaded.
        memory: the most that the process has held.
        meter: what the task at hand costs.
    """

    setup: Setup
    networks: NetworkCache = field(default_factory=NetworkCache)
    memory: MemoryPeak = field(default_factory=MemoryPeak)
    meter: Meter = field(default_factory=Meter)
    _events: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    _joined: tuple[LoadedPipeline, Performer] | None = None

    def load(self) -> Ready:
        """Make the experts ready.

        Raises:
            ConfinerError: see `load_pipeline`; or there is no GPU for this worker.
        """
        torch.set_num_threads(self.setup.threads)
        if self.setup.jobs[0].settings.compile:
            keep_what_is_compiled()
        jobs = [_on_own_device(job, self.setup) for job in self.setup.jobs]
        loaded = load_pipeline(jobs, self.networks)
        joining = loaded.joining(self._timed(loaded.decoder.parts))
        show = self._timed(loaded.draft_decoder.parts)
        self._joined = loaded, Performer(loaded.pipeline, self._watch, joining, show)
        return ready_of(loaded, jobs)

    def do(self, order: Order) -> Answer:
        """Do a task."""
        assert self._joined is not None
        loaded, perform = self._joined
        started = monotonic()
        said, compiled = len(self.networks.messages), len(self.networks.compile_seconds)
        device = loaded.pipeline.device
        self.meter, self._events = Meter(device=device, memory=self.memory), []
        needed = {task: unpacked(each, frames_at_once=1) for task, each in order.needed.items()}
        result = packed(perform(order.task, needed))
        for seconds in self.networks.compile_seconds[compiled:]:
            self.meter.add("compile", seconds)
        return Answer(
            result,
            seconds=monotonic() - started,
            events=self._events,
            spent=self.meter.costs_after(RunRecord()),
            messages=self.networks.messages[said:],
        )

    def _record(self, event: str, **facts: object) -> None:
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        self._events.append((event, {"time": now, **facts}))

    def _watch(self, task: Task) -> Watch:
        return watching(task, self.meter, self._record, lambda stage: None)

    def _timed(self, decode: Decode) -> Decode:
        return lambda latents: self.meter.timed("decode", decode(latents))


def _on_own_device(job: Job, setup: Setup) -> Job:
    """The job on the worker's own GPU, if each is to have one."""
    if not setup.gpus:
        return job
    own = f"cuda:{setup.number}"
    try:
        device_of(own)
    except ConfinerError as error:
        if setup.number < torch.cuda.device_count():
            raise
        raise ConfinerError(
            f"there is no GPU for worker {setup.number}: {torch.cuda.device_count()} are visible",
            "workers= takes as many as there are GPUs, or leave it out",
        ) from error
    return replace(job, settings=replace(job.settings, device=own))

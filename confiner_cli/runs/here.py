"""A run's tasks done in this process, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch

from confiner_cli.config.job import Job
from confiner_cli.experts.device import device_of
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.method.pipeline import Structure, Watch
from confiner_cli.runs.executor import execute
from confiner_cli.runs.hands import Witness
from confiner_cli.runs.joining import Decode
from confiner_cli.runs.loaded_pipeline import LoadedPipeline, load_pipeline
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.perform import Performer, Result
from confiner_cli.runs.ready import Ready, device_name, ready_of
from confiner_cli.runs.tasks import Task, TaskGraph
from confiner_cli.runs.threads import computing_with, threads_of
from confiner_cli.runs.watching import watching
from confiner_cli.runs.write_behind import WriteBehind


@dataclass
class Here:
    """See `hands.Hands`.

    Attributes:
        networks: where networks stay from job to job.
    """

    networks: NetworkCache
    _loaded: LoadedPipeline | None = field(default=None, repr=False)
    _said: int = 0
    _compiled: int = 0

    def begin(self, jobs: Sequence[Job]) -> tuple[Meter, str]:
        """See `Hands`. Raises ConfinerError: the device is not there."""
        device = device_of(jobs[0].settings.device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)  # a sweep's jobs share the process
        return Meter(device=device), device_name(device)

    def computing(self, jobs: Sequence[Job]) -> AbstractContextManager[None]:
        """See `Hands`."""
        return computing_with(threads_of(jobs))

    def load(self, jobs: Sequence[Job]) -> Ready:
        """See `Hands`. Raises as `load_pipeline`."""
        self._said = len(self.networks.messages)
        self._compiled = len(self.networks.compile_seconds)
        self._loaded = load_pipeline(jobs, self.networks)
        return ready_of(self._loaded, jobs)

    def bring_about(
        self, goals: Iterable[Task], graph: TaskGraph, store: WriteBehind, witness: Witness
    ) -> Iterator[Task]:
        """See `Hands`."""
        assert self._loaded is not None
        perform = _Telling(self._loaded, store, witness)
        yield from execute(goals, graph, store, perform)

    def compile_seconds(self) -> float:
        """See `Hands`."""
        return sum(self.networks.compile_seconds[self._compiled :])

    def messages(self) -> Sequence[str]:
        """See `Hands`."""
        return self.networks.messages[self._said :]


class _Telling:
    """Does tasks, and tells of them while they are done."""

    def __init__(self, loaded: LoadedPipeline, store: WriteBehind, witness: Witness) -> None:
        self.store, self.witness = store, witness
        decode = self._timed(loaded.decoder.parts)
        show = self._timed(loaded.draft_decoder.parts)
        self.perform = Performer(loaded.pipeline, self._watch, loaded.joining(decode), show)

    def __call__(self, task: Task, needed: Mapping[Task, Result]) -> Result:
        """The result of a task. Frames are decoded when they are taken."""
        self.witness.meter.task = task
        result = self.perform(task, needed)
        if isinstance(result, Structure):
            self.witness.turned(task, result.backwards)
        return result

    def _watch(self, task: Task) -> Watch:
        """Stops early where nothing can be written.

        A GPU has been told of a step that is shown. It may be one or two behind, no more: about a
        thousand operations wait for it, which is as many as a network has.
        """
        return watching(task, self.witness.meter, self.witness.record, self._stepped)

    def _stepped(self, stage: str) -> None:
        self.store.flush()  # now the GPU has something to do
        self.witness.tell(stage)
        self.witness.check()

    def _timed(self, decode: Decode) -> Decode:
        return lambda latents: self.witness.meter.timed("decode", decode(latents))

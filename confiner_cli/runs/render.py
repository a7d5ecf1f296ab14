"""A run's way to its videos: tasks done by whoever does them, encoders beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor

from confiner_cli.media.background import consume_in_background
from confiner_cli.method.pipeline import Structure, cross_fade
from confiner_cli.runs.batch import BatchStore
from confiner_cli.runs.hands import Hands, Witness
from confiner_cli.runs.job_graph import graph_of_job
from confiner_cli.runs.open_run import OpenRun
from confiner_cli.runs.perform import Result
from confiner_cli.runs.ready import Ready
from confiner_cli.runs.tasks import Kind, Task
from confiner_cli.runs.write_behind import WriteBehind
from confiner_cli.weights.tensors import save_tensors

WAITING = 2
"""How many chunks, with all of their frames, may wait for their encoder."""


class Renderer:
    """Makes the videos of runs that are sampled together, most often of one.

    Args:
        hands: who does the tasks.
        witness: is told of them; has the runs, in the order of the samples.
        ready: what is known of the experts.
    """

    def __init__(self, hands: Hands, witness: Witness, ready: Ready) -> None:
        self.hands = hands
        self.witness = witness
        self.ready = ready
        self.runs, self.meter = witness.runs, witness.meter
        self.graph = graph_of_job(self.runs[0].job)
        store = BatchStore([run.partial for run in self.runs])
        self.store = WriteBehind(store, before=self._write_down_costs)

    def render(self) -> None:
        """Make video.mp4 of every run, and structure.mp4 if it is wanted.

        Raises:
            KeyboardInterrupt: it was interrupted, unless the video has no end and a frame is
                finished: this is how such a video is given its end.
        """
        endless = math.isinf(self.graph.timeline.num_frames)
        with ExitStack() as encoders:
            self._start(encoders)
            try:
                self._bring_about()
            except KeyboardInterrupt:
                if not endless:
                    raise
            self._end(Kind.CHUNK)
            if self.graph.previewed:
                if endless:
                    self._end(Kind.PREVIEW)  # only now is it known how long it is
                for run in self.runs:
                    self.meter.wait(run.streams[Kind.PREVIEW].wait)
        if not self.runs[0].num_frames:
            raise KeyboardInterrupt

    def write_latents(self) -> None:
        """Write base noise, structures and refined windows of every run, cut to its length.

        Where a latent is several frames, they lie one after another as they are.
        """
        finished = self.runs[0]  # a video without an end is as long as what is finished of it
        count = math.ceil(finished.num_frames / self.graph.timeline.length)
        chunks = finished.partial.chunks(Kind.CHUNK)
        count = count if self.graph.drafted else 0
        structures = [Task(Kind.STRUCTURE, number) for number in range(count)]
        windows = [Task(Kind.WINDOW, number) for number in range(len(chunks))]
        for _ in self._done([*structures, *windows]):
            self.store.flush()  # whatever is damaged is made again
        noise = self.ready.base_noise
        assert noise is not None
        for run, base_noise in zip(self.runs, torch.split(noise, 1), strict=True):
            drafts = [_latents(run.partial.get(task)) for task in structures]
            refined = [_latents(run.partial.get(task)) for task in windows]
            if self.graph.timeline.space.time_factor == 1:
                refined = self._faded(refined)
            _write(run, {"structure": drafts, "refined": refined}, base_noise)

    def _start(self, encoders: ExitStack) -> None:
        pieces = 1 + math.ceil(self.graph.timeline.length / self.ready.frames_at_once)
        for run in self.runs:
            for kind in run.shown_kinds:
                consume = partial(run.encoded, kind)
                stream = encoders.enter_context(consume_in_background(consume, WAITING * pieces))
                run.streams[kind] = stream

    def _bring_about(self) -> None:
        structures = self.graph.timeline.structure_count
        started, waited = monotonic(), self._waited()
        try:
            for goal in self._done(self.graph.goals()):
                if goal.kind is Kind.PREVIEW and goal.number + 1 == structures:
                    self._end(Kind.PREVIEW)  # structure.mp4 is joined while the refinement goes on
        finally:
            self.store.flush()
            self.meter.driven_until = monotonic()
            self.meter.driving = self.meter.driven_until - started - (self._waited() - waited)

    def _waited(self) -> float:
        """Seconds that were waited, so far, for encoders and workers."""
        return self.meter.seconds["wait"] + self.meter.seconds["idle"]

    def _end(self, kind: Kind) -> None:
        for run in self.runs:
            self.meter.wait(run.streams[kind].end)
            if kind is Kind.CHUNK:
                self.meter.wait(run.streams[kind].wait)

    def _done(self, goals: Iterable[Task]) -> Iterator[Task]:
        return self.hands.bring_about(goals, self.graph, self.store, self.witness)

    def _write_down_costs(self) -> None:
        """Before latents are: so a record never says less than what is there has cost."""
        for run in self.runs:
            run.write_down_costs()

    def _faded(self, refined: list[Tensor]) -> list[Tensor]:
        """What each window decides, of all that each has refined."""
        befores = [None, *refined[:-1]]
        return [
            cross_fade(self.graph.timeline, number, window, before)
            for number, (window, before) in enumerate(zip(refined, befores, strict=True))
        ]


def _latents(result: Result) -> Tensor:
    if isinstance(result, Structure):
        return result.latents
    assert isinstance(result, Tensor)
    return result


def _write(run: OpenRun, parts: Mapping[str, list[Tensor]], base_noise: Tensor) -> None:
    path: Path = run.folder / "latents.safetensors"
    tensors = {"base_noise": base_noise}
    for name, latents in parts.items():
        if not latents:
            continue  # the draft is a video
        joined = torch.cat(latents, dim=2)
        if run.job.timeline.space.time_factor == 1:
            joined = joined[:, :, : run.num_frames]
        tensors[name] = joined.contiguous()
    save_tensors(tensors, path)

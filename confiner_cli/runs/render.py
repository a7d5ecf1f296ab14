"""A run's way to its videos: tasks done one after another, encoders beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from confiner_cli.media.background import consume_in_background
from confiner_cli.method.pipeline import Structure, Watch, cross_fade
from confiner_cli.method.walk import Step
from confiner_cli.runs.batch import BatchStore
from confiner_cli.runs.executor import execute, missing
from confiner_cli.runs.joining import Decode
from confiner_cli.runs.loaded_pipeline import LoadedPipeline
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.open_run import OpenRun
from confiner_cli.runs.perform import Performer, Result, graph_of
from confiner_cli.runs.tasks import Kind, Task, TaskGraph
from confiner_cli.runs.write_behind import WriteBehind
from confiner_cli.weights.tensors import save_tensors

WAITING = 2
"""How many chunks, with all of their frames, may wait for their encoder."""


class Renderer:
    """Makes the videos of runs that are sampled together, most often of one.

    Args:
        runs: at work, in the order of the pipeline's samples.
        loaded: the experts, conditioned on the runs' prompts.
        meter: what the process spends.
        tell: is told the stage after each evaluation.
    """

    def __init__(
        self,
        runs: Sequence[OpenRun],
        loaded: LoadedPipeline,
        meter: Meter,
        tell: Callable[[str], None],
    ) -> None:
        self.runs = runs
        self.loaded = loaded
        self.meter = meter
        self.tell = tell
        self.graph = shown_graph(runs, loaded)
        store = BatchStore([run.partial for run in runs])
        self.store = WriteBehind(store, before=self._write_down_costs)
        decode = self._timed(loaded.decoder.parts)
        show = self._timed(loaded.draft_decoder.parts)
        joining = loaded.joining(decode)
        self.performer = Performer(loaded.pipeline, self._watch, joining, show)

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
        for _ in execute([*structures, *windows], self.graph, self.store, self._perform):
            self.store.flush()  # whatever is damaged is made again
        noise = self.loaded.pipeline.initial_noise(0).cpu()
        for run, base_noise in zip(self.runs, torch.split(noise, 1), strict=True):
            drafts = [_latents(run.partial.get(task)) for task in structures]
            refined = [_latents(run.partial.get(task)) for task in windows]
            if self.graph.timeline.space.time_factor == 1:
                refined = self._faded(refined)
            _write(run, {"structure": drafts, "refined": refined}, base_noise)

    def _start(self, encoders: ExitStack) -> None:
        pieces = 1 + math.ceil(self.graph.timeline.length / self.loaded.decoder.batch)
        for run in self.runs:
            for kind in run.shown_kinds:
                consume = partial(run.encoded, kind)
                stream = encoders.enter_context(consume_in_background(consume, WAITING * pieces))
                run.streams[kind] = stream

    def _bring_about(self) -> None:
        goals, structures = self.graph.goals(), self.graph.timeline.structure_count
        try:
            for goal in execute(goals, self.graph, self.store, self._perform):
                if goal.kind is Kind.PREVIEW and goal.number + 1 == structures:
                    self._end(Kind.PREVIEW)  # structure.mp4 is joined while the refinement goes on
        finally:
            self.store.flush()

    def _end(self, kind: Kind) -> None:
        for run in self.runs:
            self.meter.wait(run.streams[kind].end)
            if kind is Kind.CHUNK:
                self.meter.wait(run.streams[kind].wait)

    def _perform(self, task: Task, needed: Mapping[Task, Result]) -> Result:
        """Do a task, and write down which way a structure goes."""
        result = self.performer(task, needed)
        if isinstance(result, Structure):
            for number, run in enumerate(self.runs):
                turned = result.backwards[number]
                run.logbook.event("structure", index=task.number, backwards=turned)
        return result

    def _write_down_costs(self) -> None:
        """Before latents are: so a record never says less than what is there has cost."""
        for run in self.runs:
            run.write_down_costs()

    def _watch(self, task: Task) -> Watch:
        """Count, show and record the steps of a task; stop early where nothing can be written.

        A GPU has been told of a step that is shown. It may be one or two behind, no more: about a
        thousand operations wait for it, which is as many as a network has.
        """

        def watch(stage: str, steps: Iterator[Step], total: int) -> Iterable[Step]:
            self._record("stage", stage=stage, index=task.number, evaluations=total)
            for number, step in enumerate(self.meter.watch(stage, steps, total), start=1):
                self.store.flush()  # now the GPU has something to do
                self.tell(stage)
                visit = step.visit
                self._record(
                    "visit",
                    stage=stage,
                    index=task.number,
                    number=number,
                    role=visit.role,
                    t=visit.t,
                )
                for run in self.runs:
                    run.check()
                yield step

        return watch

    def _record(self, event: str, **facts: object) -> None:
        for run in self.runs:
            run.logbook.event(event, **facts)

    def _timed(self, decode: Decode) -> Decode:
        return lambda latents: self.meter.timed("decode", decode(latents))

    def _faded(self, refined: list[Tensor]) -> list[Tensor]:
        """What each window decides, of all that each has refined."""
        befores = [None, *refined[:-1]]
        return [
            cross_fade(self.graph.timeline, number, window, before)
            for number, (window, before) in enumerate(zip(refined, befores, strict=True))
        ]


def evaluations_left(runs: Sequence[OpenRun], loaded: LoadedPipeline) -> float:
    """How many evaluations there are to do; `math.inf` for a video without an end."""
    pipeline, graph = loaded.pipeline, shown_graph(runs, loaded)
    if math.isinf(graph.timeline.num_frames):
        return math.inf
    store = BatchStore([run.partial for run in runs])
    left = {task for goal in graph.goals() for task in missing(goal, graph, store)}
    structures = sum(task.kind is Kind.STRUCTURE for task in left)
    windows = sum(task.kind is Kind.WINDOW for task in left)
    return structures * pipeline.structure_evaluations + windows * pipeline.refinement_evaluations


def shown_graph(runs: Sequence[OpenRun], loaded: LoadedPipeline) -> TaskGraph:
    """The tasks of runs that are sampled together: they show the same."""
    joining = loaded.joining(loaded.decoder.parts)
    return graph_of(loaded.pipeline, joining, Kind.PREVIEW in runs[0].shown_kinds)


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

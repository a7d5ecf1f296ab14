"""Doing one task: it takes the results that it needs, calls the experts, returns its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from confiner_cli.method.pipeline import (
    Pipeline,
    Structure,
    Watch,
    refine_window,
    sample_structure,
)
from confiner_cli.method.transfer import onto
from confiner_cli.runs.arriving import first_frames
from confiner_cli.runs.joining import Decode, Frames, Joining
from confiner_cli.runs.tasks import Kind, Task, TaskGraph, shown_by

Latents: TypeAlias = Structure | Tensor
"""Of a structure, or of a window, `(sample, channel, frame, height, width)`."""
Result: TypeAlias = Latents | Frames


def graph_of(pipeline: Pipeline, joining: Joining, previewed: bool = True) -> TaskGraph:
    """The tasks of a run of this pipeline, whose structures are shown or not."""
    return TaskGraph(pipeline.timeline, pipeline.follows, previewed, joining.source is None)


@dataclass(frozen=True)
class Performer:
    """Does the tasks of a pipeline.

    Attributes:
        pipeline: the experts, conditioned, and all else that decides the latents.
        watch: by task, who sees the steps of its walk.
        joining: how windows take their drafts, and the video its frames.
        show: makes frames of structures, to be looked at.
    """

    pipeline: Pipeline
    watch: Callable[[Task], Watch]
    joining: Joining
    show: Decode

    def __call__(self, task: Task, needed: Mapping[Task, Result]) -> Result:
        """The result of a task.

        Args:
            task: what to do.
            needed: the results of `TaskGraph.needs(task)`, from wherever they are kept.
        """
        needed = {need: moved(result, self.pipeline.device) for need, result in needed.items()}
        match task.kind:
            case Kind.STRUCTURE:
                return self._structure(task, needed)
            case Kind.WINDOW:
                return self._window(task, needed)
            case Kind.PREVIEW:
                return self._preview(task, needed)
            case Kind.CHUNK:
                return self._chunk(task, needed)

    def _structure(self, task: Task, needed: Mapping[Task, Result]) -> Structure:
        previous = needed.get(Task(Kind.STRUCTURE, task.number - 1))
        assert previous is None or isinstance(previous, Structure)
        return sample_structure(self.pipeline, task.number, previous, self.watch(task))

    def _window(self, task: Task, needed: Mapping[Task, Result]) -> Tensor:
        structures = {need.number: _structure_in(result) for need, result in needed.items()}
        draft = onto(self.joining.draft(task.number, structures), self.pipeline.device)
        return refine_window(self.pipeline, task.number, draft, self.watch(task))

    def _preview(self, task: Task, needed: Mapping[Task, Result]) -> Frames:
        """Decode what the video shows of a structure, each sample by itself."""
        span = shown_by(task, self.pipeline.timeline)
        if self.joining.source is not None:
            return [[self.joining.source(span)] for _ in self.pipeline.seeds]
        structure, shown = _structure_in(needed[Task(Kind.STRUCTURE, task.number)]), len(span)
        latents = structure.latents[:, :, : self.pipeline.draft_space.length(shown)]
        return [first_frames(self.show(sample[None]), shown) for sample in latents]

    def _chunk(self, task: Task, needed: Mapping[Task, Result]) -> Frames:
        refined = _latents_in(needed[Task(Kind.WINDOW, task.number)])
        before = needed.get(Task(Kind.WINDOW, task.number - 1))
        earlier = None if before is None else _latents_in(before)
        return self.joining.frames(task.number, refined, earlier)


def moved(result: Result, device: torch.device) -> Result:
    """A result on a device. Frames stay where they are."""
    if isinstance(result, Structure):
        noises = {step: onto(eps, device) for step, eps in result.noises.items()}
        return replace(result, latents=onto(result.latents, device), noises=noises)
    return onto(result, device) if isinstance(result, Tensor) else result


def _structure_in(result: Result) -> Structure:
    assert isinstance(result, Structure)
    return result


def _latents_in(result: Result) -> Tensor:
    assert isinstance(result, Tensor)
    return result

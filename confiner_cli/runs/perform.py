"""Doing one task: it takes the results that it needs, calls the experts, returns its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from confiner_cli.method.pipeline import (
    Pipeline,
    Structure,
    Watch,
    cross_fade,
    cut_draft,
    refine_window,
    sample_structure,
)
from confiner_cli.method.transfer import onto
from confiner_cli.runs.arriving import Part
from confiner_cli.runs.tasks import Kind, Task, TaskGraph, shown_by

Frames: TypeAlias = list[Iterable[Part]]
"""For each sample of a batch its frames, decoded as they are taken."""
Decode: TypeAlias = Callable[[Tensor], Iterable[Part]]
"""Latents `(1, channel, frame, height, width)` to frames, a few at a time."""
Latents: TypeAlias = Structure | Tensor
"""Of a structure, or of a window, `(sample, channel, frame, height, width)`."""
Result: TypeAlias = Latents | Frames


def graph_of(pipeline: Pipeline, previewed: bool = True) -> TaskGraph:
    """The tasks of a run of this pipeline, whose structures are shown or not."""
    return TaskGraph(pipeline.timeline, pipeline.follows, previewed)


@dataclass(frozen=True)
class Performer:
    """Does the tasks of a pipeline.

    Attributes:
        pipeline: the experts, conditioned, and all else that decides the latents.
        watch: by task, who sees the steps of its walk.
        decode: makes frames of latents.
        decode_draft: does so with structures; None is `decode`.
    """

    pipeline: Pipeline
    watch: Callable[[Task], Watch]
    decode: Decode
    decode_draft: Decode | None = None

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
        pipeline = self.pipeline
        structures = {need.number: _structure_in(result) for need, result in needed.items()}
        latents = {number: structure.latents for number, structure in structures.items()}
        draft = cut_draft(pipeline.timeline, pipeline.timeline.refines(task.number), latents)
        return refine_window(pipeline, task.number, draft, self.watch(task))

    def _preview(self, task: Task, needed: Mapping[Task, Result]) -> Frames:
        structure = _structure_in(needed[Task(Kind.STRUCTURE, task.number)])
        return self._frames(structure.latents, task, self.decode_draft or self.decode)

    def _chunk(self, task: Task, needed: Mapping[Task, Result]) -> Frames:
        refined = _latents_in(needed[Task(Kind.WINDOW, task.number)])
        before = needed.get(Task(Kind.WINDOW, task.number - 1))
        faded = self.faded(task.number, refined, None if before is None else _latents_in(before))
        return self._frames(faded, task, self.decode)

    def faded(self, number: int, refined: Tensor, before: Tensor | None) -> Tensor:
        """The frames that window `number` decides, cross-faded with those of the one before it."""
        return cross_fade(self.pipeline.timeline, number, refined, before)

    def _frames(self, latents: Tensor, task: Task, decode: Decode) -> Frames:
        """Decode what the video shows of these latents, each sample by itself."""
        shown = len(shown_by(task, self.pipeline.timeline))
        return [decode(sample[None, :, :shown]) for sample in latents]


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

"""Several runs that are sampled in one forward: one store over the store of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from confiner_cli.method.pipeline import Structure
from confiner_cli.runs.partial import PartialRun
from confiner_cli.runs.perform import Result
from confiner_cli.runs.tasks import Task


@dataclass(frozen=True)
class BatchStore:
    """Results of a batch: sample n lies in the n-th run's own folder, as if it had been alone."""

    runs: Sequence[PartialRun]

    def has(self, task: Task) -> bool:
        """Whether every run has a result."""
        return all(run.has(task) for run in self.runs)

    def get(self, task: Task) -> Result:
        """The latents that a task has made, of all runs."""
        return joined([run.get(task) for run in self.runs])

    def put(self, task: Task, result: Result) -> None:
        """Give each run its sample, but for those that have one from before."""
        for run, sample in zip(self.runs, split(result), strict=True):
            if not run.has(task):  # a kill may have come when only some had theirs
                run.put(task, sample)

    def latents(self) -> list[Task]:
        """The tasks whose latents some run has."""
        return list(dict.fromkeys(task for run in self.runs for task in run.latents()))

    def discard(self, task: Task) -> None:
        """Remove latents from every run."""
        for run in self.runs:
            run.discard(task)


def split(result: Result) -> list[Result]:
    """A batch's result as one of each sample."""
    if isinstance(result, list):
        return [[frames] for frames in result]
    if isinstance(result, torch.Tensor):
        return list(torch.split(result, 1))
    return [_sample_of(result, number) for number in range(len(result.latents))]


def _sample_of(structure: Structure, number: int) -> Structure:
    """Sample `number` of a batch of structures."""
    own = slice(number, number + 1)
    noises = {step: eps[own] for step, eps in structure.noises.items()}
    return Structure(structure.number, structure.latents[own], noises, structure.backwards[own])


def joined(results: Sequence[Result]) -> Result:
    """The results of single samples as a batch's: structures, or latents of a window."""
    structures = [result for result in results if isinstance(result, Structure)]
    if not structures:
        return torch.cat([result for result in results if isinstance(result, torch.Tensor)])
    first = structures[0]
    noises: dict[int, Tensor] = {}
    for step in first.noises:
        noises[step] = torch.cat([structure.noises[step] for structure in structures])
    latents = torch.cat([structure.latents for structure in structures])
    backwards = tuple(structure.backwards[0] for structure in structures)
    return Structure(first.number, latents, noises, backwards)

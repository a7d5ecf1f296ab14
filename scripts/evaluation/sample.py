"""What numbers are computed from: the rows' clips, by prompt, and the draws of prompts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from confiner_cli.costs.table import costs
from evaluation.clips import levels
from evaluation.judge import judge
from evaluation.prompts import Prompt
from evaluation.results import COLUMNS, KEY, ROLES, Results
from evaluation.statistics import Frechet, Moments, draws
from evaluation.tasks import Task
from world.render import FRAMES, SIZE, render
from world.scene import placed

PLACEMENTS = 2
NUMBERS = tuple(column for column in COLUMNS if column not in KEY)


@dataclass(frozen=True, eq=False)  # compared by identity: what is computed from one is remembered
class Sample:
    """All clips of a row.

    Attributes:
        clips: how many.
        columns: of the results, `(prompt,)`: means over a prompt's clips.
        features: the judge's, of all frames.
    """

    clips: int
    columns: Mapping[str, Tensor]
    features: Moments

    @property
    def operations(self) -> float:
        """A clip's counted operations."""
        return sum(
            float(self.columns[f"passes_{role}"].mean()) * operations_a_pass(role) for role in ROLES
        )

    @classmethod
    def of(cls, results: Results, tasks: Iterable[Task]) -> Sample:
        """Of results that have all of these."""
        by_prompt: dict[str, list[Task]] = {}
        for task in tasks:
            by_prompt.setdefault(task.prompt.text, []).append(task)
        lines = [[results.lines[task.key] for task in group] for group in by_prompt.values()]
        columns = {name: torch.stack([_mean(group, name) for group in lines]) for name in NUMBERS}
        features = [
            torch.cat([results.features_of(task.key) for task in group])
            for group in by_prompt.values()
        ]
        return cls(sum(map(len, lines)), columns, Moments.of(features))


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """The draws of prompts that all rows are computed on.

    Attributes:
        drawn: `(1 + replicate, prompt)`.
        drawn_with_two: `(1 + replicate, prompt + 2)`, for shares, to which two prompts are added.
        frechet: distances to renders.
    """

    drawn: Tensor
    drawn_with_two: Tensor
    frechet: Frechet

    @classmethod
    def to(cls, reference: Moments) -> Bootstrap:
        """For as many prompts as the reference features are of."""
        prompts = len(reference.count)
        drawn = draws(prompts)
        return cls(drawn, draws(prompts + 2), Frechet(reference, drawn))


@dataclass(frozen=True)
class Samples:
    """Rows by name: those with all of their clips, how many clips others have, the common draws."""

    rows: Mapping[str, Sample]
    unfinished: Mapping[str, int]
    bootstrap: Bootstrap

    @classmethod
    def of(cls, results: Results, tasks: Iterable[Task]) -> Samples:
        """Of results; the tasks are of all possible rows, each of the same prompts and seeds."""
        by_row: dict[str, list[Task]] = {}
        for task in tasks:
            by_row.setdefault(task.row, []).append(task)
        there = {row: sum(task.key in results for task in group) for row, group in by_row.items()}
        whole = {
            row: Sample.of(results, by_row[row])
            for row, clips in there.items()
            if clips == len(by_row[row])
        }
        prompts = {task.prompt.text: task.prompt for group in by_row.values() for task in group}
        unfinished = {row: clips for row, clips in there.items() if clips and row not in whole}
        return cls(whole, unfinished, Bootstrap.to(reference_features(prompts.values())))


def operations_a_pass(role: str) -> float:
    """Counted operations of one pass of an embedded expert over a clip, without VAE and text."""
    return costs()[f"tiny_{role}"].flops(FRAMES, SIZE, SIZE)


def reference_features(prompts: Iterable[Prompt]) -> Moments:
    """The judge's features of renders with the prompts' attributes in other placements."""
    rng = random.Random("reference")
    scenes = [
        [placed(prompt.scene.combination, rng) for _ in range(PLACEMENTS)] for prompt in prompts
    ]
    return Moments.of(
        [torch.cat([judge(levels(render(scene))).features for scene in group]) for group in scenes]
    )


def _mean(lines: Sequence[Mapping[str, str]], column: str) -> Tensor:
    """Of the clips in which it could be measured; NaN where there is none."""
    return torch.tensor([float(line[column]) for line in lines], dtype=torch.float64).nanmean()

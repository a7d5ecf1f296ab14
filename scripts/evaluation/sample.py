"""What numbers are computed from: the rows' clips, by prompt, and the draws of prompts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from confiner_cli.costs.table import costs
from evaluation.clips import levels
from evaluation.judge import judge
from evaluation.lines import Key
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
        return sum(self.mean(f"passes_{role}") * operations_a_pass(role) for role in ROLES)

    def by_role(self, kind: str) -> str:
        """A clip's `evaluations` or `passes`, of control, spatial and temporal: `4 + 10 + 5`."""
        return " + ".join(f"{self.mean(f'{kind}_{role}'):g}" for role in ROLES)

    def mean(self, column: str) -> float:
        """Of a column, over all prompts."""
        return float(self.columns[column].mean())

    @classmethod
    def of(cls, results: Results, tasks: Iterable[Task]) -> Sample:
        """Of results that have all of these."""
        by_prompt: dict[str, list[Key]] = {}
        for task in tasks:
            by_prompt.setdefault(task.prompt.text, []).append(task.key)
        means, features = [], []
        for keys in by_prompt.values():
            means.append(_means([results.lines[key] for key in keys]))
            features.append(torch.cat([results.features_of(key) for key in keys]))
        columns = dict(zip(NUMBERS, torch.stack(means, dim=1), strict=True))
        return cls(sum(map(len, by_prompt.values())), columns, Moments.of(features))


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
        prompts: dict[str, Prompt] = {}
        there: Counter[str] = Counter()
        for task in tasks:
            by_row.setdefault(task.row, []).append(task)
            prompts[task.prompt.text] = task.prompt
            there[task.row] += task.key in results
        finished = [row for row, group in by_row.items() if there[row] == len(group)]
        unfinished = {row: there[row] for row in by_row if there[row] and row not in finished}
        whole = {row: Sample.of(results, by_row[row]) for row in finished}
        return cls(whole, unfinished, Bootstrap.to(reference_features(prompts.values())))


def operations_a_pass(role: str) -> float:
    """Counted operations of one pass of an embedded expert over a clip, without VAE and text."""
    return costs()[f"tiny_{role}"].flops(FRAMES, SIZE, SIZE)


def reference_features(prompts: Iterable[Prompt]) -> Moments:
    """The judge's features of renders with the prompts' attributes in other placements."""
    rng = random.Random("reference")
    features = []
    for prompt in prompts:
        scenes = [placed(prompt.scene.combination, rng) for _ in range(PLACEMENTS)]
        verdicts = [judge(levels(render(scene))) for scene in scenes]
        features.append(torch.cat([verdict.features for verdict in verdicts]))
    return Moments.of(features)


def _means(lines: Sequence[Mapping[str, str]]) -> Tensor:
    """`NUMBERS` of the clips in which they could be measured; NaN where there is none."""
    return torch.stack([_numbers(line) for line in lines]).nanmean(dim=0)


def _numbers(line: Mapping[str, str]) -> Tensor:
    return torch.tensor([float(line[name]) for name in NUMBERS], dtype=torch.float64)

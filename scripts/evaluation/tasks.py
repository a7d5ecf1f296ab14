"""What an evaluation has to make, and the loop that makes what is not there yet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from torch import Tensor

from evaluation.lines import Key
from evaluation.prompts import Prompt
from evaluation.results import ROLES


@dataclass(frozen=True)
class Made:
    """A clip `(frame, 3, size, size)` in [0, 1] and what it cost, by role."""

    clip: Tensor
    evaluations: Mapping[str, int] = field(default_factory=dict)
    passes: Mapping[str, int] = field(default_factory=dict)

    @property
    def costs(self) -> dict[str, int]:
        """The columns of the results that say what it cost; 0 for a role that was not asked."""
        evaluations = {f"evaluations_{role}": self.evaluations.get(role, 0) for role in ROLES}
        return evaluations | {f"passes_{role}": self.passes.get(role, 0) for role in ROLES}


Maker = Callable[[Prompt, int], Made]
"""Makes the clip of a prompt and a seed."""

SEED_STRIDE = 1000


def seed_of(prompt: Prompt, repetition: int) -> int:
    """A seed of its own for every prompt, so that chance averages out; the same in all rows."""
    return SEED_STRIDE * repetition + prompt.number


@dataclass(frozen=True)
class Task:
    """A clip that is to be made: of a row with certain settings, of a prompt and a seed."""

    row: str
    made_with: str
    prompt: Prompt
    seed: int

    @property
    def key(self) -> Key:
        """What its line is found by."""
        return self.row, self.prompt.text, str(self.seed), self.made_with

    @property
    def named(self) -> dict[str, str | int]:
        """The columns of the results that its line is found by."""
        return {
            "row": self.row,
            "prompt": self.prompt.text,
            "seed": self.seed,
            "made_with": self.made_with,
        }


def tasks(rows: Mapping[str, str], prompts: Iterable[Prompt], seeds: int) -> list[Task]:
    """All that is to be made; rows are names with what they are made with.

    All rows of a prompt come one after another, so that they meet the same noise of the machine,
    and what is there is the same for all of them, however early it ends.
    """
    prompts = list(prompts)
    return [
        Task(row, made_with, prompt, seed_of(prompt, repetition))
        for repetition in range(seeds)
        for prompt in prompts
        for row, made_with in rows.items()
    ]


def make_missing(
    todo: Sequence[Task], there: Container[Key], maker_of: Callable[[str], Maker]
) -> Iterator[tuple[Task, Made, float]]:
    """Make what is not there yet, one clip after another, and say on stderr how far it is.

    Args:
        todo: all that is wanted.
        there: the keys of what is there already.
        maker_of: a row's maker, ready: called for every clip, so that it decides what it keeps.

    Yields:
        The task, its clip, and the seconds that the clip took.
    """
    missing = [task for task in todo if task.key not in there]
    for task in _watched(missing, len(todo)):
        make = maker_of(task.row)
        started = monotonic()
        made = make(task.prompt, task.seed)
        yield task, made, monotonic() - started


def _watched(missing: Sequence[Task], total: int) -> Iterator[Task]:
    """Pass the tasks on, with a line on stderr after each: how many are done, the time left."""
    started, before = monotonic(), total - len(missing)
    if before:
        print(f"{before} of {total} clips are there already", file=sys.stderr)
    for number, task in enumerate(missing, start=1):
        yield task
        left = (monotonic() - started) / number * (len(missing) - number)
        print(
            f"{before + number}/{total} {task.row} · about {left / 60:.0f} min left",
            file=sys.stderr,
            flush=True,
        )

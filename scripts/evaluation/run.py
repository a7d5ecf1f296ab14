"""Evaluation as a loop: every row makes a clip of every prompt and seed, measured and kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from evaluation.floor import levels, reconstructor
from evaluation.judge import Verdict, judge
from evaluation.lines import Key
from evaluation.metrics import colour_shift, contrast, flicker, sharpness, subject_consistency
from evaluation.prompts import Prompt
from evaluation.results import ROLES, Results
from evaluation.tracking import scene_path
from world.render import render


@dataclass(frozen=True)
class Made:
    """A clip `(frame, 3, size, size)` in [0, 1] and what it cost, by role."""

    clip: Tensor
    evaluations: Mapping[str, int] = field(default_factory=dict)
    passes: Mapping[str, int] = field(default_factory=dict)


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


def shard(text: str) -> tuple[int, int]:
    """An argument such as `1/3`, the first of three parts, as the first index and the step."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text} is not like 1/3")
    return int(number) - 1, int(count)


def evaluate(makers: Mapping[str, Callable[[], Maker]], todo: list[Task], results: Results) -> None:
    """Make, measure and keep what is not in the results yet.

    A row's maker is got ready when its turn comes.
    """
    missing = [task for task in todo if task.key not in results]
    ready: dict[str, Maker] = {}
    for task in _watched(missing, len(todo)):
        if task.row not in ready:
            ready[task.row] = makers[task.row]()
        started = monotonic()
        made = ready[task.row](task.prompt, task.seed)
        seconds = monotonic() - started
        verdict = judge(made.clip)
        costs = {f"evaluations_{role}": made.evaluations.get(role, 0) for role in ROLES}
        costs |= {f"passes_{role}": made.passes.get(role, 0) for role in ROLES}
        named = {
            "row": task.row, "prompt": task.prompt.text, "seed": task.seed,
            "made_with": task.made_with, "seconds": seconds, "held_out": int(task.prompt.held_out),
        }  # fmt: skip
        results.add(named | costs | measured(made.clip, verdict, task.prompt), verdict.features)


def measured(clip: Tensor, verdict: Verdict, prompt: Prompt) -> dict[str, Any]:
    """The columns that come from the clip: what it shows of what was asked for, and how well."""
    shares = {f"{name}_frames": share for name, share in verdict.right_frames(prompt.scene).items()}
    return {**verdict.right(prompt.scene), **shares, **qualities(clip, verdict)}


def qualities(clip: Tensor, verdict: Verdict) -> dict[str, float]:
    """How well a clip is drawn, whatever was asked for: beside a render of what it shows."""
    x, y = travel(verdict)
    return {
        "flicker": flicker(clip, verdict.track.mask),
        "jitter": verdict.fit.jitter,
        "contrast": contrast(clip, verdict.scene),
        "sharpness": sharpness(clip, verdict.scene),
        "colour_shift": colour_shift(clip, verdict.scene, verdict.track.mask),
        "subject_consistency": subject_consistency(verdict.features),
        "amplitude": verdict.fit.amplitude,
        "travel_x": x,
        "travel_y": y,
    }


def travel(verdict: Verdict) -> tuple[float, float]:
    """From first to last frame, by a line through the track: x and y in percent of the side."""
    centres = scene_path(verdict.track, verdict.scene.shape, verdict.scene.colour)[:, :2]
    time = torch.linspace(-0.5, 0.5, len(centres))[:, None]
    x, y = (100 * (time * centres).sum(dim=0) / time.square().sum().clamp(min=1e-6)).tolist()
    return x, y


def rendered() -> Maker:
    """The floor: the prompt's scene as rendered."""
    return lambda prompt, seed: Made(levels(render(prompt.scene)))


def reconstructed() -> Maker:
    """The floor that the VAE allows."""
    through = reconstructor()
    return lambda prompt, seed: Made(through(render(prompt.scene)))


def _watched(missing: list[Task], total: int) -> Iterator[Task]:
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

"""Prompts to evaluate on: drawn from a seed, balanced over attributes, worded as captions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from world.captions import caption
from world.scene import ATTRIBUTES, Scene, held_out, placed

Value = TypeVar("Value")


@dataclass(frozen=True)
class Prompt:
    """A prompt and what it asks for; the scene's place is only where its render has the object."""

    number: int
    text: str
    scene: Scene
    held_out: bool


def draw(prompt_seed: int) -> Iterator[Prompt]:
    """Endless prompts: the first n do not depend on how many are taken.

    Each attribute runs in shuffled rounds.
    """
    rng, forbidden = random.Random(f"evaluation {prompt_seed}"), held_out()
    rounds = {
        name: _rounds(values, random.Random(f"{name} {prompt_seed}"))
        for name, values in ATTRIBUTES.items()
    }
    for number in count():
        scene = placed(
            (
                next(rounds["shape"]),
                next(rounds["colour"]),
                next(rounds["motion"]),
                next(rounds["background"]),
            ),
            rng,
        )
        yield Prompt(number, caption(scene, rng), scene, scene.combination in forbidden)


def draw_held_out(prompt_seed: int) -> Iterator[Prompt]:
    """Endless prompts for combinations that no training saw, in shuffled rounds of all of them."""
    rng = random.Random(f"held out {prompt_seed}")
    for number, combination in enumerate(_rounds(sorted(held_out()), rng)):
        scene = placed(combination, rng)
        yield Prompt(number, caption(scene, rng), scene, held_out=True)


def _rounds(values: Sequence[Value], rng: random.Random) -> Iterator[Value]:
    while True:
        yield from rng.sample(values, len(values))

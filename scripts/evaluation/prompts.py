"""Prompts to evaluate on: drawn from a seed, balanced over the attributes, in wordings of the captions' grammar."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from world.captions import caption
from world.scene import ATTRIBUTES, Scene, held_out, placed


@dataclass(frozen=True)
class Prompt:
    """A prompt and what it asks for; the scene's placement is only where its render puts the object."""

    number: int
    text: str
    scene: Scene
    held_out: bool


def draw(prompt_seed: int) -> Iterator[Prompt]:
    """Endless prompts: the first n do not depend on how many are taken. Each attribute runs in shuffled rounds."""
    rng, forbidden = random.Random(f"evaluation {prompt_seed}"), held_out()
    rounds = {name: _rounds(values, random.Random(f"{name} {prompt_seed}")) for name, values in ATTRIBUTES.items()}
    for number in count():
        scene = placed(
            (next(rounds["shape"]), next(rounds["colour"]), next(rounds["motion"]), next(rounds["background"])), rng
        )
        yield Prompt(number, caption(scene, rng), scene, scene.combination in forbidden)


def _rounds(values: Sequence[str], rng: random.Random) -> Iterator[str]:
    while True:
        yield from rng.sample(values, len(values))

"""Scenes: one coloured shape that moves over a background, as plain data.

A scene says everything a clip shows, so a render is a pure function of it. A tenth of the attribute
combinations is held out of all training: what an expert draws of them it has never seen together.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "star", "heart")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
MOTIONS = (
    "standing still",
    "moving left",
    "moving right",
    "rising",
    "falling",
    "growing",
    "swinging from side to side",
    "pulsing",
)
BACKGROUNDS = ("grass", "night sky", "sea", "sand")
Combination = tuple[str, str, str, str]
"""A shape, a colour, a motion and a background."""
ATTRIBUTES = {"shape": SHAPES, "colour": COLOURS, "motion": MOTIONS, "background": BACKGROUNDS}

HOLD_OUT_FRACTION = 0.1
_HOLD_OUT_SEED = 2408


@dataclass(frozen=True)
class Scene:
    """What a clip shows. Lengths are fractions of the side; `x`, `y` are the middle of the path."""

    shape: str
    colour: str
    motion: str
    background: str
    x: float = 0.5
    y: float = 0.5
    radius: float = 0.265

    @property
    def combination(self) -> Combination:
        """The four attributes, without the placement."""
        return (self.shape, self.colour, self.motion, self.background)


def combinations() -> tuple[Combination, ...]:
    """All 960 combinations of shape, colour, motion and background, in a fixed order."""
    return tuple(itertools.product(SHAPES, COLOURS, MOTIONS, BACKGROUNDS))


@functools.cache
def held_out() -> frozenset[Combination]:
    """The combinations that no training step ever sees (a fixed tenth of all)."""
    everything = list(combinations())
    random.Random(_HOLD_OUT_SEED).shuffle(everything)
    return frozenset(everything[: round(HOLD_OUT_FRACTION * len(everything))])


@functools.cache
def seen_in_training() -> tuple[Combination, ...]:
    """All others, in a fixed order."""
    return tuple(each for each in combinations() if each not in held_out())


def placed(combination: Combination, rng: random.Random) -> Scene:
    """A scene of the combination with a random place and size, wholly inside all its frames."""
    x, y = (0.5 + rng.uniform(-0.04, 0.04) for _ in range(2))
    return Scene(*combination, x=x, y=y, radius=rng.uniform(0.25, 0.28))


def indices(scenes: Iterable[Scene], name: str) -> list[int]:
    """Each scene's value of an attribute, by its place in `ATTRIBUTES`."""
    values = ATTRIBUTES[name]
    return [values.index(getattr(scene, name)) for scene in scenes]


def training_scenes(variations: int, seed: int) -> Iterator[Scene]:
    """Every combination that is not held out, `variations` times with random placement."""
    rng = random.Random(seed)
    for _ in range(variations):
        for combination in seen_in_training():
            yield placed(combination, rng)

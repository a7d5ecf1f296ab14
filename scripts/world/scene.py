"""Scenes: one coloured shape that moves over a background, as plain data.

A scene says everything a clip shows, so a render is a pure function of it. A tenth of the attribute
combinations is held out of all training: what an expert draws of them it has never seen together.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
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
    def combination(self) -> tuple[str, str, str, str]:
        """The four attributes, without the placement."""
        return (self.shape, self.colour, self.motion, self.background)


def combinations() -> tuple[tuple[str, str, str, str], ...]:
    """All 960 combinations of shape, colour, motion and background, in a fixed order."""
    return tuple(itertools.product(SHAPES, COLOURS, MOTIONS, BACKGROUNDS))


def held_out() -> frozenset[tuple[str, str, str, str]]:
    """The combinations that no training step ever sees (a fixed tenth of all)."""
    everything = list(combinations())
    random.Random(_HOLD_OUT_SEED).shuffle(everything)
    return frozenset(everything[: round(HOLD_OUT_FRACTION * len(everything))])


def placed(combination: tuple[str, str, str, str], rng: random.Random) -> Scene:
    """A scene of the combination with a random place and size, wholly inside all its frames."""
    x, y = (0.5 + rng.uniform(-0.04, 0.04) for _ in range(2))
    return Scene(*combination, x=x, y=y, radius=rng.uniform(0.25, 0.28))


def training_scenes(variations: int, seed: int) -> Iterator[Scene]:
    """Every combination that is not held out, `variations` times with random placement."""
    forbidden = held_out()
    rng = random.Random(seed)
    for _ in range(variations):
        for combination in combinations():
            if combination not in forbidden:
                yield placed(combination, rng)

"""A textured pattern that moves by known fractions of pixels, and comes in where it goes out."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor

SIZE = (36, 48)
PERIOD = 12
"""Pixels along x after which the pattern is the same."""
FINEST = 6
"""Pixels of the shortest wave."""
WAVES = 40


def moving(places: Sequence[tuple[float, float]], size: tuple[int, int] = SIZE) -> Tensor:
    """The pattern at these places, x and y in pixels: `(frame, 3, height, width)` in [0, 1].

    It is a sum of waves, so that any place is exact.
    """
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rng, waves = random.Random(0), torch.zeros(len(places), 3, height, width)
    right, down = (torch.tensor(along)[:, None, None] for along in zip(*places, strict=True))
    for _ in range(WAVES):
        turns_x = rng.randint(-PERIOD // FINEST, PERIOD // FINEST) / PERIOD
        turns_y = rng.randint(0, height // FINEST) / height
        phase, height_of_wave = rng.random(), 1 / (0.02 + math.hypot(turns_x, turns_y))
        wave = torch.cos(2 * math.pi * (turns_x * (x - right) + turns_y * (y - down) + phase))
        colour = torch.tensor([rng.uniform(0.5, 1) for _ in range(3)])
        waves += height_of_wave * wave[:, None] * colour[:, None, None]
    return 0.5 + 0.12 * waves / waves[0].std()


def steady(num_frames: int, speed: float, size: tuple[int, int] = SIZE) -> Tensor:
    """It moves along x, by `speed` pixels a frame."""
    return moving([(speed * frame, 0.0) for frame in range(num_frames)], size)

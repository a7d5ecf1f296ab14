"""What is done to clips on purpose, in known doses, to see which numbers follow.

Clips are `(frame, 3, height, width)` in [0, 1]; values that an injury leads out of that are left to
whoever rounds them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


@dataclass(frozen=True)
class Injury:
    """What is done, in rising doses, the first of them none.

    `do` makes the injured clip of what it is given. `moves` are the metrics that measure it: 1
    rises with the dose, -1 falls, every time. `touches` are those that it changes as well, rightly:
    they are not asked to stay.
    """

    do: Callable[[Any, float], Tensor]
    doses: tuple[float, ...]
    moves: dict[str, int]
    touches: tuple[str, ...] = ()


def noisy(clip: Tensor, std: float, seed: int = 0) -> Tensor:
    """Noise of its own in every frame, its standard deviation in levels of 0-255."""
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(seed))
    return clip + std / 255 * noise


def blurred(clip: Tensor, radius: float) -> Tensor:
    """A Gaussian blur of a radius (standard deviation) in pixels."""
    if not radius:
        return clip
    kernel = torch.exp(-torch.arange(-9.0, 10.0).square() / (2 * radius**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    clip = conv2d(pad(clip, (9, 9, 9, 9), mode="replicate"), kernel, groups=3)
    return conv2d(clip, kernel.transpose(2, 3), groups=3)


def flattened(clip: Tensor, loss: float) -> Tensor:
    """Contrast times `1 - loss`, around the mean."""
    return clip.mean() + (1 - loss) * (clip - clip.mean())


def turned(clip: Tensor, degrees: float) -> Tensor:
    """All hues turned around grey."""
    angle, axis = math.radians(degrees), 3**-0.5
    cross = axis * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    rotation = torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    return torch.einsum("ij,fjhw->fihw", rotation, clip)


def shuffled(clip: Tensor, swaps: float) -> Tensor:
    """Pairs of frames exchanged."""
    order, rng = list(range(len(clip))), random.Random(1)
    for _ in range(int(swaps)):
        i, j = rng.sample(range(len(clip)), 2)
        order[i], order[j] = order[j], order[i]
    return clip[order]


def frozen(clip: Tensor, frames: float) -> Tensor:
    """So many frames at the end stand still."""
    last = len(clip) - 1
    return clip[torch.arange(len(clip)).clamp(max=last - int(frames))]


def gradual(injury: Callable[[Tensor, float], Tensor], clip: Tensor, dose: float) -> Tensor:
    """An injury that grows from nothing in the first frame to the dose in the last."""
    shares = torch.linspace(0, 1, len(clip)).tolist()
    frames = zip(clip.split(1), shares, strict=True)
    return torch.cat([injury(frame, share * dose) for frame, share in frames])

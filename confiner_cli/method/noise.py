"""Noise that is keyed, not drawn in turn.

Any frame's noise can be made again alone, in any order, on any worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def keyed_generator(seed: int, *key: str | int) -> torch.Generator:
    """A CPU generator that the seed and the key decide.

    Keys that differ anywhere give independent ones.
    """
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    # 63 bits of the digest, whatever the seed's size.
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def keyed_noise(shape: tuple[int, ...], seed: int, *key: str | int) -> Tensor:
    """Standard normal float32 noise, drawn on the CPU; equal arguments give equal bits."""
    return torch.randn(shape, generator=keyed_generator(seed, *key), dtype=torch.float32)


def frames_noise(
    shape: tuple[int, int, int], frames: Iterable[int], seed: int, *key: str | int
) -> Tensor:
    """Noise `(1, channel, frame, height, width)` of the given frames, each keyed by its own number.

    Args:
        shape: `(channel, height, width)` of one frame's latents.
        frames: numbers of the frames, in the video (refinement) or in the segment (structures).
        seed: the run's seed.
        key: the purpose, and the visit where there are several.
    """
    return torch.stack([keyed_noise(shape, seed, *key, frame) for frame in frames], dim=1)[None]

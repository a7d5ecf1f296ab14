"""Consistency initialization (section 3.4): segments start from one noise, its frames shuffled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from confiner_cli.method.noise import frames_noise, keyed_generator


def frame_order(num_frames: int, seed: int, segment: int, shuffle: str = "frames") -> Tensor:
    """Which frame of the base noise each frame of a segment starts from, `(num_frames,)`.

    Args:
        num_frames: of the segment.
        seed: the run's seed.
        segment: its number; segment 0 keeps all frames where they are.
        shuffle: `frames` (the paper's: each segment has a permutation of its own) or `none`.
    """
    if segment == 0 or shuffle == "none":
        return torch.arange(num_frames)
    return torch.randperm(num_frames, generator=keyed_generator(seed, "shuffle", segment))


def order_in_previous(num_frames: int, seed: int, segment: int, shuffle: str = "frames") -> Tensor:
    """Which frame of the segment before started from the same base noise as each frame of this one.

    `(num_frames,)`; arguments as of `frame_order`, but `segment` is from 1.
    """
    undo = torch.argsort(frame_order(num_frames, seed, segment - 1, shuffle))
    return undo[frame_order(num_frames, seed, segment, shuffle)]


def in_order(latents: Tensor, orders: Sequence[Tensor]) -> Tensor:
    """The frames of `(sample, channel, frame, height, width)`, each sample's in its own order."""
    samples = zip(latents, orders, strict=True)
    return torch.stack([sample[:, order] for sample, order in samples])


def initial_noise(
    shape: tuple[int, int, int],
    num_frames: int,
    seed: int,
    segment: int,
    consistency: float,
    shuffle: str,
) -> Tensor:
    """The noise a segment's structure starts from, `(1, channel, frame, height, width)`.

    Args:
        shape: `(channel, height, width)` of one frame's latents.
        num_frames: of the segment.
        seed: the run's seed.
        segment: its number, from 0.
        consistency: the share, in variance, of the base noise, in [0, 1]; the rest is the segment's
            own noise. Standard normal whatever it is.
        shuffle: as in `frame_order`.
    """
    base = frames_noise(shape, range(num_frames), seed, "base")
    if segment == 0:
        return base
    base = base[:, :, frame_order(num_frames, seed, segment, shuffle)]
    if consistency == 1:
        return base
    own = frames_noise(shape, range(num_frames), seed, "segment", segment)
    mixed: Tensor = consistency**0.5 * base + (1 - consistency) ** 0.5 * own
    return mixed

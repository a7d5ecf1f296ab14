"""Frames in parts alike: a last one alone takes longest, and is another graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def alike(frames: Tensor, most: int, dim: int) -> Sequence[Tensor]:
    """As few parts as there can be of at most so many frames, none two frames longer than another.

    Args:
        frames: at least one frame, in the dimension `dim`.
        most: how many a part may have.
        dim: which dimension is cut.
    """
    return torch.tensor_split(frames, math.ceil(frames.shape[dim] / most), dim)

"""Clips, `(frame, 3, height, width)` in [0, 1], and frames as a video has them."""

from __future__ import annotations

import torch
from torch import Tensor


def levels(clip: Tensor) -> Tensor:
    """Rounded to the 256 levels that a video has."""
    return (clip.clamp(0, 1) * 255).round() / 255


def clip_of(frames: Tensor) -> Tensor:
    """Frames `(frame, height, width, 3)`, uint8, as a clip."""
    return frames.permute(0, 3, 1, 2).float() / 255


def frames_of(clip: Tensor) -> Tensor:
    """A clip as frames `(frame, height, width, 3)`, uint8; what is below 0 or above 1 is cut."""
    pixels = (255 * clip.clamp(0, 1)).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous()

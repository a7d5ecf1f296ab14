"""A network to count, and which sizes and terms its factors are found with."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from confiner_cli.costs.table import Cost

Size = tuple[int, int, int]
"""Frames, height and width in pixels."""
FITTED: tuple[Size, ...] = tuple(
    (frames, *size)
    for frames, size in itertools.product((2, 3, 4), ((64, 64), (64, 128), (128, 128)))
)
"""Videos: of a single frame a network holds less, as a text is then not repeated for frames."""
SHOWN: tuple[Size, ...] = ((16, 256, 256), (16, 320, 512), (16, 512, 512))
HELD_OUT: tuple[Size, ...] = (*SHOWN, (2, 512, 512), (24, 576, 1024))
LATENT = 8
"""Pixels of a side per latent."""


@dataclass(frozen=True)
class Fit:
    """How a network's factors are found.

    Attributes:
        fitted: the sizes whose counts decide them.
        held_out: the sizes whose counts say how far off they are.
        flops_terms: which of `terms` operations grow with, by place.
        bytes_terms: the same for memory. With fused attention it does not grow with pairs.
        time_factor: as in `Cost`.
    """

    fitted: tuple[Size, ...] = FITTED
    held_out: tuple[Size, ...] = HELD_OUT
    flops_terms: tuple[int, ...] = (0, 1, 2, 3, 4)
    bytes_terms: tuple[int, ...] = (0, 1, 2)
    time_factor: int = 1

    def own(self, size: Size) -> Size:
        """A size with the network's frames in place of the video's."""
        frames = Cost(0, (), (), self.time_factor).own_frames(size[0])
        return (frames, *size[1:])


BY_FRAMES = Fit()
ONE_PROMPT = Fit(flops_terms=(0,), bytes_terms=(0,))
"""A text encoder's cost depends on no size."""


@dataclass(frozen=True)
class Subject:
    """A network without memory, and a pass of it over inputs of a size."""

    module: nn.Module
    inputs: Callable[[Size], tuple[Tensor, ...]]
    forward: Callable[..., object]
    fit: Fit = BY_FRAMES

    @property
    def parameters(self) -> int:
        """Numbers in its weights, without tables that are computed."""
        return sum(parameter.numel() for parameter in self.module.parameters())


def read(path: Path) -> dict[str, Any]:
    """A config."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def built(build: Callable[[], Any], dtype: torch.dtype = torch.float16) -> Any:
    """A network of shapes alone."""
    with torch.device("meta"):
        return build().to(dtype).eval()


def empty(*shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
    """A tensor of a shape alone."""
    return torch.empty(shape, dtype=dtype, device="meta")

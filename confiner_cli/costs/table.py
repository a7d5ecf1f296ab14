"""What a forward pass of a known network costs, in operations and memory, at any size.

The numbers were counted by `scripts/count_costs.py`, without weights and without a GPU.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

TABLE = Path(__file__).with_name("table.json")
TILE = 64 * 64
"""Pixels of a tile, 8 x 8 latents: the smallest frame that every network can halve."""


@dataclass(frozen=True)
class Cost:
    """One network's costs for one sample: guidance takes two.

    Attributes:
        parameters: how many numbers its weights are.
        flops_of_terms: the factor of each of `terms`; those left out at the end are zero.
        bytes_of_terms: the same for activations.
    """

    parameters: int
    flops_of_terms: tuple[int, ...]
    bytes_of_terms: tuple[int, ...]

    def flops(self, num_frames: int, height: int, width: int) -> float:
        """Operations of a pass over all frames (a text encoder's: over a prompt); sizes in pixels.

        Where 64 does not divide a side they are some more, 2 to 7 % at 256 x 256 and larger:
        networks round up inside.
        """
        return _sum(self.flops_of_terms, num_frames, height, width)

    def activation_bytes(self, num_frames: int, height: int, width: int) -> float:
        """The most memory that a pass holds beside the weights, in 16 bits; sizes in pixels."""
        return _sum(self.bytes_of_terms, num_frames, height, width)


def terms(num_frames: int, height: int, width: int) -> tuple[float, ...]:
    """What costs grow with.

    Nothing, frames, tiles, pairs of positions in a frame, and pairs of frames at a position.
    """
    tiles = height * width / TILE
    return 1, num_frames, num_frames * tiles, num_frames * tiles**2, num_frames**2 * tiles


def companions(architecture: str) -> tuple[str, str]:
    """The rows of the text encoder and of the VAE that a UNet works with."""
    if architecture.startswith("tiny"):
        return "tiny_text", "tiny_vae"
    return ("modelscope_text" if architecture == "modelscope" else "sd15_text"), "sd15_vae"


def preview_of(architecture: str) -> str:
    """The row of the preview decoder that stands for the VAE that a UNet works with."""
    return "tiny_preview" if architecture.startswith("tiny") else "taesd"


@functools.cache
def costs() -> Mapping[str, Cost]:
    """The table: architectures' names (`sd15`, `lavie`, `sd15_vae`, ...) and what they cost."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["networks"]
    return MappingProxyType({
        name: Cost(row["parameters"], tuple(row["flops"]), tuple(row["activation_bytes"]))
        for name, row in rows.items()
    })  # fmt: skip


def _sum(factors: Sequence[float], num_frames: int, height: int, width: int) -> float:
    return float(
        sum(
            factor * term
            for factor, term in zip(factors, terms(num_frames, height, width), strict=False)
        )
    )

"""What a forward pass of a known network costs, in operations and memory, at any size.

The numbers were counted by `scripts/count_costs.py`, without weights and without a GPU.
"""

from __future__ import annotations

import functools
import json
import math
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
        time_factor: how many frames of a video are one of the network's, after the first, which is
            one alone.
    """

    parameters: int
    flops_of_terms: tuple[int, ...]
    bytes_of_terms: tuple[int, ...]
    time_factor: int = 1

    def flops(self, num_frames: int, height: int, width: int) -> float:
        """Operations of a pass over all frames (a text encoder's: over a prompt); sizes in pixels.

        Where 64 does not divide a side a UNet's are some more, 2 to 7 % at 256 x 256 and larger:
        it rounds up inside. Wan's networks take sides that 16 divides, and are exact there, but for
        the VAE above 480 x 832 pixels: it works in tiles, whose overlaps are not counted (at 720 x
        1280 they are 65 % more).
        """
        return _sum(self.flops_of_terms, self.own_frames(num_frames), height, width)

    def activation_bytes(self, num_frames: int, height: int, width: int) -> float:
        """The most memory that a pass holds beside the weights, in 16 bits; sizes in pixels.

        Wan's VAE always computes in 32 bits, and is counted so: for three latent frames or more,
        as less is kept of what came before two. To its encoder a video is given in full.
        """
        return _sum(self.bytes_of_terms, self.own_frames(num_frames), height, width)

    def own_frames(self, num_frames: int) -> int:
        """The network's frames of a video of so many, the last group of which may be part of one.

        Of 81 frames a network with a `time_factor` of 4 has 21, of 82 it has 22.
        """
        return 1 + math.ceil((num_frames - 1) / self.time_factor)


def terms(num_frames: int, height: int, width: int) -> tuple[float, ...]:
    """What costs grow with.

    Nothing, frames, tiles, pairs of positions in a frame, pairs of frames at a position, pairs of
    positions in the whole video, and the tiles of one frame: the first may cost other than the
    rest.

    Args:
        num_frames: the network's own (`Cost.own_frames`).
        height: in pixels.
        width: the same.
    """
    tiles = height * width / TILE
    whole = num_frames * tiles
    return 1, num_frames, whole, whole * tiles, num_frames * whole, whole**2, tiles


def companions(architecture: str) -> tuple[str, str]:
    """The rows of the text encoder and of the VAE that a denoising network works with."""
    if architecture.startswith("tiny"):
        return "tiny_text", "tiny_vae"
    if architecture.startswith("wan"):
        return "wan_text", "wan21_vae"
    return ("modelscope_text" if architecture == "modelscope" else "sd15_text"), "sd15_vae"


def encoder_of(vae: str) -> str:
    """The row of the encoder of the VAE whose decoder has the row `vae`."""
    return f"{vae}_encoder"


def preview_of(architecture: str) -> str:
    """The row of the preview decoder that stands for the VAE that a UNet works with."""
    return "tiny_preview" if architecture.startswith("tiny") else "taesd"


@functools.cache
def costs() -> Mapping[str, Cost]:
    """The table: architectures' names (`sd15`, `lavie`, `sd15_vae`, ...) and what they cost."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["networks"]
    return MappingProxyType({
        name: Cost(
            parameters=row["parameters"],
            flops_of_terms=tuple(row["flops"]),
            bytes_of_terms=tuple(row["activation_bytes"]),
            time_factor=row.get("time_factor", 1),
        )
        for name, row in rows.items()
    })  # fmt: skip


def _sum(factors: Sequence[float], num_frames: int, height: int, width: int) -> float:
    return float(
        sum(
            factor * term
            for factor, term in zip(factors, terms(num_frames, height, width), strict=False)
        )
    )

"""Latent spaces: what a sample's channels, frames and pixels are to the video that it is of.

Structures, windows and prompts speak of the video's frames. Only a space knows how many latents
along the time axis these are: as many, where each frame is coded by itself; in the space of a
causal video coder the first latent is of the first frame, and every other one of several frames,
given all before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LatentSpace:
    """A space that experts work in.

    Attributes:
        channels: of its latents.
        factor: pixels of a frame's side per latent.
        time_factor: frames per latent after the first.
        patch: latents of a side that its networks take as one: sides have whole patches.
    """

    channels: int = 4
    factor: int = 8
    time_factor: int = 1
    patch: int = 1

    @property
    def multiple(self) -> int:
        """Sizes in pixels are multiples of this."""
        return self.factor * self.patch

    def takes(self, num_frames: int) -> bool:
        """Whether so many frames are whole latents: `n`, or `4 n + 1`."""
        return (num_frames - 1) % self.time_factor == 0

    def rounded_up(self, num_frames: int) -> int:
        """The least number of frames, not below `num_frames` (1 or more), that it takes."""
        return (self.length(num_frames) - 1) * self.time_factor + 1

    def rounded_down(self, num_frames: int) -> int:
        """The most frames, not above `num_frames` (1 or more), that it takes."""
        return (num_frames - 1) // self.time_factor * self.time_factor + 1

    def length(self, num_frames: int) -> int:
        """How many latents so many frames are, along the time axis."""
        return 1 + -(-(num_frames - 1) // self.time_factor)

    def first_frames(self, frames: Sequence[int]) -> list[int]:
        """Of consecutive frames, the first one that each latent shows."""
        return [*frames[:1], *frames[1 :: self.time_factor]]

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """`(channel, height, width)` of latents of a size in pixels, which it divides."""
        return self.channels, height // self.factor, width // self.factor

"""Frames to latents and latents to frames, a few at a time, however long the video is.

What every coder does; `picture_vae.py` has those of single frames, `video_vae.py` those of videos.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import torch
from torch import Tensor

from confiner_cli.errors import FailedError
from confiner_cli.experts.offload import Handle
from confiner_cli.method.transfer import Arrival, onto, sent


@dataclass(frozen=True)
class Coder(ABC):
    """The VAE that an expert set shares: what its two directions have in common.

    Attributes:
        vae: loaded when it is first called.
        factor: pixels of a frame's side per latent.
        channels: of the latents.
        batch: frames that pass through it at once.
        time_factor: frames of a latent frame; of the first one it is one frame.
    """

    vae: Handle
    factor: int
    channels: int
    batch: int
    time_factor: int = field(default=1, kw_only=True)

    def load(self) -> None:
        """Load the VAE now. Raises ConfinerError: its weights are damaged."""
        self.vae()


@dataclass(frozen=True)
class Pixels:
    """A few frames that a GPU may yet have to decode, on the VAE's device.

    Attributes:
        numbers: `(frame, 3, height, width)`, float32, about [-1, 1].
        finite: whether all of them are, `()`.
        again: decodes them once more, in float32. Raises FailedError: they are not finite then.
    """

    numbers: Tensor
    finite: Tensor
    again: Callable[[], Tensor]


@dataclass(frozen=True)
class Decoded:
    """A few frames that a GPU may yet have to decode; who iterates over them waits for that.

    Attributes:
        arrival: `(frame, height, width, 3)`, uint8, and whether the VAE's output was finite.
        again: as `Pixels` has it.
    """

    arrival: Arrival
    again: Callable[[], Tensor]

    def __len__(self) -> int:
        return len(self.arrival.tensors[0])

    def __iter__(self) -> Iterator[Tensor]:
        """The frames, `(height, width, 3)`. Raises FailedError as `Decoder` does."""
        return iter(self.wait())

    def wait(self) -> Tensor:
        """All of them at once."""
        frames, finite = self.arrival.wait()
        return frames if finite else _frames(self.again()).cpu()


class Decoder(Coder):
    """From latents to frames."""

    def __call__(self, latents: Tensor) -> Iterator[Tensor]:
        """Decode `(1, channel, latent frame, height, width)`, one frame after another.

        Yields:
            Frames `(height * factor, width * factor, 3)`, uint8, on the CPU.

        Raises:
            FailedError: a decoded frame has NaN or infinity in it, in full precision too.
        """
        for part in self.parts(latents):
            yield from part

    def parts(self, latents: Tensor) -> Iterator[Tensor | Decoded]:
        """The same frames, a few at a time.

        A GPU is told to decode them, and nothing waits until somebody iterates over them, in
        whichever thread. A CPU has decoded them.
        """
        for pixels in self._decoded(latents):
            decoded = Decoded(sent(_frames(pixels.numbers), pixels.finite), pixels.again)
            yield decoded.wait() if pixels.finite.is_cpu else decoded

    def pixels(self, latents: Tensor) -> Iterator[Tensor]:
        """The same frames before they are rounded, a few at a time, for `Encoder.of_pixels`.

        Yields:
            `(frame, 3, height * factor, width * factor)`, float32 in [-1, 1], on the VAE's device,
            which is waited for.

        Raises:
            FailedError: as `__call__`.
        """
        for pixels in self._decoded(latents):
            numbers = pixels.numbers if pixels.finite else pixels.again()
            yield numbers.clamp(-1, 1)

    @abstractmethod
    def _decoded(self, latents: Tensor) -> Iterator[Pixels]:
        """The frames as the VAE gives them, a few at a time."""


class Encoder(Coder):
    """From frames to latents, without noise: the posterior's mode."""

    def __call__(self, frames: Tensor) -> Tensor:
        """Encode uint8 frames `(frame, height, width, 3)`, whose sides are multiples of `factor`.

        Returns:
            What the UNets see, `(1, channel, latent frame, height / factor, width / factor)`,
            float32 on the VAE's device.

        Raises:
            FailedError: the latents have NaN or infinity in them, in full precision too.
            ValueError: a last latent frame would not have all of its frames.
        """
        if (len(frames) - 1) % self.time_factor:
            raise ValueError(f"{len(frames)} frames are not 1 and a multiple of {self.time_factor}")
        return self._encoded([onto(frames, self.vae.device).permute(0, 3, 1, 2)])

    def of_pixels(self, parts: Iterable[Tensor]) -> Tensor:
        """The same of frames that are not rounded, as `Decoder.pixels` of any VAE yields them.

        Args:
            parts: `(frame, 3, height, width)`, float32 in [-1, 1], with any number of frames each.

        Returns: as `__call__`.

        Raises: as `__call__`.
        """
        return self._encoded(onto(part, self.vae.device) for part in parts)

    @abstractmethod
    def _encoded(self, parts: Iterable[Tensor]) -> Tensor:
        """The latents of frames as `of_pixels` takes them, which may be uint8, too."""


def as_pixels(frames: Tensor) -> Tensor:
    """What a VAE takes, in [-1, 1], of uint8, or of what it takes already."""
    return frames / 127.5 - 1 if frames.dtype == torch.uint8 else frames


def refuse_frames() -> NoReturn:
    """Raises FailedError: what was decoded is not finite."""
    raise FailedError(
        "the VAE decoded frames that are not finite (NaN or infinity), in float32",
        "the latents or the VAE's weights are damaged: try another seed, then "
        "`confiner experts check`",
    )


def refuse_latents() -> NoReturn:
    """Raises FailedError: what was encoded is not finite."""
    raise FailedError(
        "the VAE encoded frames to latents that are not finite (NaN or infinity), in float32",
        "the VAE's weights are damaged: `confiner experts check`",
    )


def _frames(pixels: Tensor) -> Tensor:
    """Frames `(frame, height, width, 3)`, uint8, of the VAE's output `(frame, 3, ...)`."""
    shares = (pixels.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1)
    return shares.mul(255).round().to(torch.uint8, memory_format=torch.contiguous_format)

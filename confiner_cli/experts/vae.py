"""Frames to latents and latents to frames, a few at a time, however long the video is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from confiner_cli.errors import FailedError
from confiner_cli.experts.compiling import Told, compiled
from confiner_cli.experts.components import Components
from confiner_cli.experts.networks.arranged import arranged_vae
from confiner_cli.experts.networks.frame_parts import alike
from confiner_cli.experts.offload import Handle, NetworkCache, OffloadPolicy
from confiner_cli.experts.stated import check_vae
from confiner_cli.method.transfer import Arrival, onto, sent

Coding: TypeAlias = Callable[[AutoencoderKL, Tensor], Tensor]
"""One direction of a VAE: a part as it takes it to a part as it gives it."""


@dataclass(frozen=True)
class Coder:
    """The VAE that an expert set shares: what its two directions have in common.

    Attributes:
        vae: loaded when it is first called.
        factor: pixels of a frame's side per latent.
        channels: of the latents.
        scaling_factor: what latents are multiplied by in the space that the UNets see.
        batch: frames that pass through it at once.
    """

    vae: Handle
    factor: int
    channels: int
    scaling_factor: float
    batch: int

    def load(self) -> None:
        """Load the VAE now. Raises ConfinerError: its weights are damaged."""
        self.vae()

    def _parts(self, frames: Tensor) -> Sequence[Tensor]:
        return alike(frames, self.batch, dim=0)

    @torch.no_grad()
    def _coded(self, direction: Coding, part: Tensor) -> tuple[Tensor, Tensor]:
        """The part coded, in float32, and whether that is finite, `()`; both on the VAE's device.

        A GPU has yet to compute them.
        """
        with self.vae.computing() as module:
            vae = cast("AutoencoderKL", module)  # or what decodes as it does
            coded = direction(vae, part.to(vae.dtype)).float()
        return coded, torch.isfinite(coded).all()

    @torch.no_grad()
    def _coded_in_float32(self, direction: Coding, part: Tensor) -> Tensor | None:
        """The part coded in full precision; None where that is what failed, or fails too."""
        with self.vae.computing() as module:
            vae = cast("AutoencoderKL", module)
            if vae.dtype == torch.float32:
                return None
            with _widened(vae):
                coded = direction(vae, part.float())
        return coded if torch.isfinite(coded).all() else None


@contextmanager
def _widened(vae: AutoencoderKL) -> Iterator[None]:
    """In the body it computes in float32, where the precision that it has overflows."""
    narrow = vae.dtype
    try:
        # torch's own `to`: diffusers' warns of every change of precision.
        nn.Module.to(vae, torch.float32)
        yield
    finally:
        nn.Module.to(vae, narrow)


@dataclass(frozen=True)
class Decoded:
    """A few frames that a GPU may yet have to decode; who iterates over them waits for that.

    Attributes:
        arrival: `(frame, height, width, 3)`, uint8, and whether the VAE's output was finite.
        again: decodes them once more, in float32.
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
        return frames if finite else self.again()


class Decoder(Coder):
    """From latents to frames."""

    def __call__(self, latents: Tensor) -> Iterator[Tensor]:
        """Decode `(1, channel, frame, height, width)`, one frame after another.

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
        latents = onto(latents[0], self.vae.device).transpose(0, 1)
        for part in self._parts(latents / self.scaling_factor):
            pixels, finite = self._coded(_decode, part)
            decoded = Decoded(sent(_frames(pixels), finite), partial(self._again, part))
            yield decoded.wait() if finite.is_cpu else decoded

    def _again(self, part: Tensor) -> Tensor:
        pixels = self._coded_in_float32(_decode, part)
        if pixels is None:
            raise FailedError(
                "the VAE decoded frames that are not finite (NaN or infinity), in float32",
                "the latents or the VAE's weights are damaged: try another seed, then "
                "`confiner experts check`",
            )
        return _frames(pixels).cpu()


class Encoder(Coder):
    """From frames to latents, without noise: the posterior's mode."""

    def __call__(self, frames: Tensor) -> Tensor:
        """Encode uint8 frames `(frame, height, width, 3)`, whose sides are multiples of `factor`.

        Returns:
            What the UNets see, `(1, channel, frame, height / factor, width / factor)`, float32 on
            the VAE's device.

        Raises:
            FailedError: the latents have NaN or infinity in them, in full precision too.
        """
        pixels = onto(frames, self.vae.device).permute(0, 3, 1, 2)
        parts = self._parts(pixels)
        encoded, found = zip(*(self._coded(_encode, _shares(part)) for part in parts), strict=True)
        latents = list(encoded)
        # All at once: to read what a GPU has computed is to wait for it.
        for number, finite in enumerate(torch.stack(found).cpu().tolist()):
            if not finite:
                latents[number] = self._again(parts[number])
        return torch.cat(latents).transpose(0, 1)[None] * self.scaling_factor

    def _again(self, part: Tensor) -> Tensor:
        latents = self._coded_in_float32(_encode, _shares(part))
        if latents is None:
            raise FailedError(
                "the VAE encoded frames to latents that are not finite (NaN or infinity), in "
                "float32",
                "the VAE's weights are damaged: `confiner experts check`",
            )
        return latents


def _frames(pixels: Tensor) -> Tensor:
    """Frames `(frame, height, width, 3)`, uint8, of the VAE's output `(frame, 3, ...)`."""
    shares = (pixels.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1)
    return shares.mul(255).round().to(torch.uint8, memory_format=torch.contiguous_format)


def _shares(pixels: Tensor) -> Tensor:
    """What the VAE takes, in [-1, 1], of uint8."""
    return pixels / 127.5 - 1


def _load(components: Components, compiling: bool | str, told: Told) -> nn.Module:
    vae = components.model("vae", AutoencoderKL)
    arranged = arranged_vae(vae, components.device, components.dtype)
    # It repeats no block often, and compiled as a whole it gains nothing on a CPU.
    if compiling is True and components.device.type != "cpu":
        compiled(vae.decoder, compiling, 0, "the VAE's decoder", told)
    return arranged


def _decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    pixels: Tensor = vae.decode(latents).sample
    return pixels


def _encode(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    latents: Tensor = vae.encode(pixels).latent_dist.mode()
    return latents


Direction = TypeVar("Direction", Decoder, Encoder)


def coder(
    direction: type[Direction],
    components: Components,
    policy: OffloadPolicy,
    cache: NetworkCache,
    compiling: bool | str = False,
) -> Direction:
    """The decoder or the encoder that `components` have; of both, a cache loads one network.

    Raises:
        ConfinerError: there is no VAE, or its files are damaged.
    """
    config, device = components.config("vae"), components.device
    check_vae(config, components.place("vae"))
    key = ("vae", components.identity(components.sources("vae")), compiling is True)
    load = partial(_load, components, compiling, cache.compile_seconds.append)
    return direction(
        vae=Handle(key, "vae", device, policy, cache, load),
        factor=2 ** (len(config["block_out_channels"]) - 1),
        channels=config.get("latent_channels", 4),
        scaling_factor=config.get("scaling_factor", 0.18215),
        batch=policy.decode_batch,
    )

"""Frames to latents and latents to frames, a few at a time, however long the video is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from confiner_cli.errors import FailedError
from confiner_cli.experts.components import Components
from confiner_cli.experts.networks.on_cpu import arranged_vae
from confiner_cli.experts.offload import Handle, NetworkCache, OffloadPolicy
from confiner_cli.experts.stated import check_vae


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

    @torch.no_grad()
    def _finite(
        self, direction: Callable[[AutoencoderKL, Tensor], Tensor], part: Tensor
    ) -> Tensor | None:
        """The part coded, float32 on the CPU.

        None where that is not finite, in full precision too.
        """
        with self.vae.computing() as vae:
            assert isinstance(vae, AutoencoderKL)
            coded = direction(vae, part.to(vae.device, vae.dtype)).float().cpu()
            if not torch.isfinite(coded).all() and vae.dtype != torch.float32:
                with _widened(vae):
                    coded = direction(vae, part.to(vae.device)).float().cpu()
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


class Decoder(Coder):
    """From latents to frames."""

    def __call__(self, latents: Tensor) -> Iterator[Tensor]:
        """Decode `(1, channel, frame, height, width)`, one frame after another.

        Yields:
            Frames `(height * factor, width * factor, 3)`, uint8.

        Raises:
            FailedError: a decoded frame has NaN or infinity in it, in full precision too.
        """
        for part in torch.split(latents[0].transpose(0, 1) / self.scaling_factor, self.batch):
            pixels = self._finite(_decode, part)
            if pixels is None:
                raise FailedError(
                    "the VAE decoded frames that are not finite (NaN or infinity), in float32",
                    "the latents or the VAE's weights are damaged: try another seed, then "
                    "`confiner experts check`",
                )
            shares = (pixels.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1)
            yield from shares.mul(255).round().to(torch.uint8)


class Encoder(Coder):
    """From frames to latents, without noise: the posterior's mode."""

    def __call__(self, frames: Tensor) -> Tensor:
        """Encode uint8 frames `(frame, height, width, 3)`, whose sides are multiples of `factor`.

        Returns:
            What the UNets see, `(1, channel, frame, height / factor, width / factor)`, float32 on
            the CPU.

        Raises:
            FailedError: the latents have NaN or infinity in them, in full precision too.
        """
        encoded = []
        for part in torch.split(frames.permute(0, 3, 1, 2), self.batch):
            latents = self._finite(_encode, part / 127.5 - 1)
            if latents is None:
                raise FailedError(
                    "the VAE encoded frames to latents that are not finite (NaN or infinity), in "
                    "float32",
                    "the VAE's weights are damaged: `confiner experts check`",
                )
            encoded.append(latents)
        return torch.cat(encoded).transpose(0, 1)[None] * self.scaling_factor


def _load(components: Components) -> nn.Module:
    vae = components.model("vae", AutoencoderKL)
    return arranged_vae(vae, components.device, components.dtype)


def _decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    pixels: Tensor = vae.decode(latents).sample
    return pixels


def _encode(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    latents: Tensor = vae.encode(pixels).latent_dist.mode()
    return latents


Direction = TypeVar("Direction", Decoder, Encoder)


def coder(
    direction: type[Direction], components: Components, policy: OffloadPolicy, cache: NetworkCache
) -> Direction:
    """The decoder or the encoder that `components` have; of both, a cache loads one network.

    Raises:
        ConfinerError: there is no VAE, or its files are damaged.
    """
    config, device = components.config("vae"), components.device
    check_vae(config, components.place("vae"))
    key = ("vae", components.identity(components.sources("vae")))
    load = partial(_load, components)
    return direction(
        vae=Handle(key, "vae", device, policy, cache, load),
        factor=2 ** (len(config["block_out_channels"]) - 1),
        channels=config.get("latent_channels", 4),
        scaling_factor=config.get("scaling_factor", 0.18215),
        batch=policy.decode_batch,
    )

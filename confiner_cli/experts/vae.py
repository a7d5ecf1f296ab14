"""Latents to frames, a few at a time, so that memory does not grow with the length of the video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from confiner_cli.errors import FailedError
from confiner_cli.experts.parts import Parts


@dataclass(frozen=True, eq=False)
class Decoder:
    """The VAE that an expert set shares. `factor` is pixels per latent, `channels` the latents' channels."""

    vae: AutoencoderKL
    chunk: int = 8

    @property
    def factor(self) -> int:
        """Pixels of a frame's side per latent."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return int(self.vae.config.latent_channels)

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Iterator[Tensor]:
        """Decode `(1, channel, frame, height, width)` to uint8 frames `(height, width, 3)`, one after another.

        Raises:
            FailedError: a decoded frame has NaN or infinity in it.
        """
        scaled = latents[0].transpose(0, 1) / self.vae.config.scaling_factor
        for part in scaled.split(self.chunk):
            pixels = self.vae.decode(part.to(self.vae.device, self.vae.dtype)).sample.float().cpu()
            if not torch.isfinite(pixels).all():
                raise FailedError("the VAE decoded frames that are not finite (NaN or infinity)", "try dtype=float32")
            yield from (pixels.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)


def load_vae(parts: Parts) -> Decoder:
    """Load `vae/`."""
    return Decoder(parts.model("vae", AutoencoderKL))

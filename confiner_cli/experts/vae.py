"""Latents to frames, a few at a time, so that memory does not grow with the length of the video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from confiner_cli.errors import FailedError
from confiner_cli.experts.fingerprint import fingerprint
from confiner_cli.experts.memory import Handle, Memory
from confiner_cli.experts.parts import Parts


@dataclass(frozen=True)
class Decoder:
    """The VAE that an expert set shares.

    Attributes:
        vae: loaded when it is first called.
        factor: pixels of a frame's side per latent.
        channels: of the latents.
        scaling_factor: what latents are multiplied by in the space that the UNets see.
        batch: frames that are decoded at once.
    """

    vae: Handle
    factor: int
    channels: int
    scaling_factor: float
    batch: int

    def __call__(self, latents: Tensor) -> Iterator[Tensor]:
        """Decode `(1, channel, frame, height, width)` to uint8 frames `(height, width, 3)`, one after another.

        Raises:
            FailedError: a decoded frame has NaN or infinity in it, in full precision too.
        """
        for part in torch.split(latents[0].transpose(0, 1) / self.scaling_factor, self.batch):
            pixels = self._pixels(part)
            yield from (pixels.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)

    @torch.no_grad()
    def _pixels(self, part: Tensor) -> Tensor:
        vae = self.vae()
        assert isinstance(vae, AutoencoderKL)
        pixels = _decode(vae, part)
        if not torch.isfinite(pixels).all() and vae.dtype != torch.float32:
            narrow = vae.dtype  # in which it overflows
            pixels = _decode(vae.to(torch.float32), part)
            vae.to(narrow)
        if not torch.isfinite(pixels).all():
            raise FailedError(
                "the VAE decoded frames that are not finite (NaN or infinity), in float32",
                "the latents or the VAE's weights are damaged: try another seed, then `confiner experts check`",
            )
        return pixels


def _decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    pixels: Tensor = vae.decode(latents.to(vae.device, vae.dtype)).sample
    return pixels.float().cpu()


def decoder(parts: Parts, memory: Memory) -> Decoder:
    """The decoder that `parts` have."""
    config = parts.config("vae")
    return Decoder(
        vae=Handle(
            ("vae", fingerprint(parts.files("vae")), parts.device, parts.dtype),
            "vae",
            parts.device,
            memory,
            partial(parts.model, "vae", AutoencoderKL),
        ),
        factor=2 ** (len(config["block_out_channels"]) - 1),
        channels=config.get("latent_channels", 4),
        scaling_factor=config.get("scaling_factor", 0.18215),
        batch=memory.decode_batch,
    )

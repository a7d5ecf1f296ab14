"""Frames coded together: Wan's VAE, in whose latents a frame stands for several of the video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor

from confiner_cli.experts.components import Components
from confiner_cli.experts.networks.causal_chunks import chunks_of, decoded, encoded
from confiner_cli.experts.offload import Handle, NetworkCache, OffloadPolicy
from confiner_cli.experts.stated_vae import DEFAULTS, check_video_vae
from confiner_cli.experts.vae import (
    Coder,
    Decoder,
    Encoder,
    Pixels,
    as_pixels,
    refuse_frames,
    refuse_latents,
)
from confiner_cli.method.transfer import onto


@dataclass(frozen=True)
class VideoCoder(Coder):
    """What the two directions of a VAE of videos have in common.

    It computes in float32, whatever the networks compute in: Wan's VAE loses quality in less.

    Attributes:
        latents_mean: of each channel of the VAE's latents.
        latents_std: their deviation. Networks see `(latents - mean) / deviation`, as diffusers'
            `WanVideoToVideoPipeline` encodes and `WanPipeline` decodes.
    """

    latents_mean: tuple[float, ...]
    latents_std: tuple[float, ...]

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation, `(1, channel, 1, 1, 1)`, on the VAE's device."""
        moments = torch.tensor([self.latents_mean, self.latents_std]).view(2, 1, -1, 1, 1, 1)
        mean, std = onto(moments, self.vae.device)
        return mean, std


class VideoDecoder(VideoCoder, Decoder):
    """From latents to frames: one of the first latent frame, `time_factor` of each later one."""

    def _decoded(self, latents: Tensor) -> Iterator[Pixels]:
        mean, std = self._moments()
        latents = onto(latents[:1], self.vae.device).float() * std + mean
        for pixels in decoded(self.vae.computing, latents):
            yield Pixels(pixels[0].transpose(0, 1), torch.isfinite(pixels).all(), refuse_frames)


class VideoEncoder(VideoCoder, Encoder):
    """From frames to latents: the first one alone, then `time_factor` frames a latent frame."""

    def _encoded(self, parts: Iterable[Tensor]) -> Tensor:
        chunks = (
            as_pixels(chunk).float().transpose(0, 1)[None]
            for chunk in chunks_of(parts, self.time_factor)
        )
        mean, std = self._moments()
        latents = (torch.cat(list(encoded(self.vae.computing, chunks)), dim=2) - mean) / std
        return latents if torch.isfinite(latents).all() else refuse_latents()


Direction = TypeVar("Direction", VideoDecoder, VideoEncoder)


def video_coder(
    direction: type[Direction], components: Components, policy: OffloadPolicy, cache: NetworkCache
) -> Direction:
    """The decoder or the encoder of Wan's VAE; of both, a cache loads one network.

    It is not compiled: between chunks its convolutions hand on more than tensors.

    Raises:
        ConfinerError: there is no VAE, its files are damaged, or see `check_video_vae`.
    """
    check_video_vae(components)
    own = replace(components, dtype=torch.float32, loras=())  # they change nothing of it
    config = {**DEFAULTS, **own.config("vae")}
    key = ("vae", own.identity(own.sources("vae")))
    load = partial(own.model, "vae", AutoencoderKLWan)
    return direction(
        vae=Handle(key, "vae", own.device, policy, cache, load),
        factor=config["scale_factor_spatial"],
        channels=config["z_dim"],
        batch=config["scale_factor_temporal"],
        latents_mean=tuple(config["latents_mean"]),
        latents_std=tuple(config["latents_std"]),
        time_factor=config["scale_factor_temporal"],
    )

"""A latent space with its VAE: what it is, and the way to frames and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.loading import load_decoder, load_encoder
from confiner_cli.experts.offload import NetworkCache, OffloadPolicy
from confiner_cli.experts.spec import ExpertSpec
from confiner_cli.experts.vae import Decoder, Encoder
from confiner_cli.method.latent_space import LatentSpace


@dataclass(frozen=True)
class CodedSpace:
    """A latent space whose VAE is known; a `bridge.Coding`.

    Attributes:
        space: as its VAE's files say.
        decoder: from latents to frames.
        encoder: from frames to latents.
    """

    space: LatentSpace
    decoder: Decoder
    encoder: Encoder

    def decode(self, latents: Tensor) -> Tensor:
        """See `bridge.Coding`; on the VAE's device."""
        videos = (torch.cat(list(self.decoder.pixels(sample[None]))) for sample in latents)
        return torch.stack([video.transpose(0, 1) for video in videos])

    def encode(self, pixels: Tensor) -> Tensor:
        """See `bridge.Coding`; on the VAE's device."""
        return torch.cat([self.encoder.of_pixels([video.transpose(0, 1)]) for video in pixels])


def coded_space(
    role: str,
    spec: ExpertSpec,
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
    cache: NetworkCache,
    compiling: bool | str = False,
) -> CodedSpace:
    """The space of an expert that brings its VAE. Arguments as of `load_decoder`.

    Raises:
        ConfinerError: as `load_decoder`; or it is not the VAE of the latent space that is stated.
    """
    loading = (role, spec, device, dtype, policy, cache, compiling)
    decoder, encoder = load_decoder(*loading), load_encoder(*loading)
    _check_space(role, spec, decoder)
    return CodedSpace(replace(spec.space, factor=decoder.factor), decoder, encoder)


def _check_space(role: str, spec: ExpertSpec, decoder: Decoder) -> None:
    """Hold a VAE against the latent space that its expert states."""
    stated = spec.space
    for ours, theirs, what in (
        (stated.time_factor, decoder.time_factor, "frames a latent"),
        (stated.channels, decoder.channels, "channels"),
    ):
        if ours != theirs:
            raise ConfinerError(
                f"experts.{role}.latent_space={spec.latent_space} has {ours} {what}, and the VAE "
                f"of experts.{role} {theirs}",
                f"experts.{role}.model= or shared= names a place with the VAE of that space",
            )

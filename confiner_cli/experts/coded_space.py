"""A latent space with its VAE: what it is, and the way to frames and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

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
        return torch.stack([self.decoder.pixels(sample[None]).movedim(0, 1) for sample in latents])

    def encode(self, pixels: Tensor) -> Tensor:
        """See `bridge.Coding`; on the VAE's device."""
        return torch.cat([self.encoder.latents(sample.movedim(1, 0)) for sample in pixels])


def coded_space(
    role: str,
    spec: ExpertSpec,
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
    cache: NetworkCache,
    compiling: bool | str = False,
) -> CodedSpace:
    """The space of an expert that brings its VAE. Arguments and errors as of `load_decoder`."""
    loading = (role, spec, device, dtype, policy, cache, compiling)
    decoder, encoder = load_decoder(*loading), load_encoder(*loading)
    space = replace(spec.space, channels=decoder.channels, factor=decoder.factor)
    return CodedSpace(space, decoder, encoder)

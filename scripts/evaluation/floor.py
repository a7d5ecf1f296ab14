"""The floor of every score: what renders themselves get, and renders after the experts' VAE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.utils import logging
from torch import Tensor

from evaluation.clips import levels

VAE = Path(__file__).resolve().parents[2] / "confiner_cli" / "embedded" / "shared" / "vae"


def reconstructor(folder: Path = VAE) -> Callable[[Tensor], Tensor]:
    """A function that takes a clip through the VAE, to uint8 levels and back.

    A clip is `(frame, 3, size, size)` in [0, 1].
    """
    logging.set_verbosity_error()
    vae = AutoencoderKL.from_pretrained(
        folder, torch_dtype=torch.float32, local_files_only=True
    ).eval()

    @torch.no_grad()
    def through(clip: Tensor) -> Tensor:
        frames, index = torch.unique(clip, dim=0, return_inverse=True)
        decoded = vae.decode(vae.encode(frames * 2 - 1).latent_dist.mean).sample
        return levels(decoded / 2 + 0.5)[index]

    return through

"""The VAE: 64 x 64 pixels to 4 x 8 x 8 latents, trained on single rendered frames."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from training.loop import DEVICE, Recipe, train
from world.render import FRAMES, render_frame
from world.scene import held_out, placed, seen_in_training

RECIPE = Recipe("vae", steps=2000, learning_rate=2e-3, ema=0.995, seed=1)
DECODER = Recipe("decoder", steps=700, learning_rate=1e-3, ema=0.995, seed=7)
BATCH = 16
KL_WEIGHT = 1e-4


def build() -> AutoencoderKL:
    """An untrained VAE with three halvings and no attention."""
    torch.manual_seed(RECIPE.seed)
    return AutoencoderKL(
        block_out_channels=(24, 48, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def frames(generator: torch.Generator, count: int) -> Tensor:
    """Random frames of scenes that are not held out, `(count, 3, 64, 64)` in [-1, 1]."""
    rng = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
    scenes = [placed(rng.choice(seen_in_training()), rng) for _ in range(count)]
    return torch.stack([render_frame(scene, rng.randrange(FRAMES)) for scene in scenes]) * 2 - 1


def unseen(count: int) -> Tensor:
    """Frames of combinations that are held out of all training, `(count, 3, 64, 64)` in [-1, 1]."""
    rng = random.Random(5)
    scenes = [placed(rng.choice(sorted(held_out())), rng) for _ in range(count)]
    return torch.stack([render_frame(scene, rng.randrange(FRAMES)) for scene in scenes]) * 2 - 1


def train_vae(folder: Path) -> AutoencoderKL:
    """Train, set the scaling factor to one over the latents' deviation, save as `folder/vae`."""
    vae = build().to(memory_format=torch.channels_last)

    def loss(generator: torch.Generator) -> Tensor:
        pixels = frames(generator, BATCH).to(DEVICE)
        posterior = vae.encode(pixels).latent_dist
        latents = posterior.mean + posterior.std * torch.randn(
            posterior.mean.shape, generator=generator
        ).to(DEVICE)
        decoded = vae.decode(latents).sample
        divergence: Tensor = posterior.kl().mean()
        return reconstruction_loss(decoded, pixels) + KL_WEIGHT * divergence

    train(RECIPE, vae, loss, folder)
    with torch.no_grad():
        sample = vae.encode(frames(torch.Generator().manual_seed(99), 256)).latent_dist.mean
    vae.register_to_config(scaling_factor=round(float(1 / sample.std()), 5))
    vae.save_pretrained(folder / "vae")
    return vae


def train_decoder(folder: Path) -> AutoencoderKL:
    """Go on with the decoder alone, on noiseless latents, and save `folder/vae` again.

    The encoder stays as it is, so latents that are encoded already stay valid.
    """
    vae = AutoencoderKL.from_pretrained(folder / "vae").to(memory_format=torch.channels_last)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)

    def loss(generator: torch.Generator) -> Tensor:
        pixels = frames(generator, BATCH).to(DEVICE)
        with torch.no_grad():
            latents = vae.encode(pixels).latent_dist.mean
        return reconstruction_loss(vae.decode(latents).sample, pixels)

    train(DECODER, vae, loss, folder)
    vae.save_pretrained(folder / "vae")
    return vae


def reconstruction_loss(decoded: Tensor, pixels: Tensor) -> Tensor:
    """L1, squared error, and the L1 of neighbours' differences, which keeps edges crisp."""
    edges = sum(l1_loss(decoded.diff(dim=axis), pixels.diff(dim=axis)) for axis in (2, 3))
    return l1_loss(decoded, pixels) + 2 * mse_loss(decoded, pixels) + 0.5 * edges


@torch.no_grad()
def psnr(vae: AutoencoderKL, pixels: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of reconstructions of `pixels` in [-1, 1]."""
    decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
    return float(10 * torch.log10(4 / mse_loss(decoded, pixels)))

"""The spatial expert: a small UNet2DConditionModel on single frames.

It predicts v on Stable Diffusion's schedule.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from confiner_cli.method.schedule import Schedule, scaled_linear
from training.latents import Clips
from training.loop import Recipe, on_device, train
from training.text import WIDTH

FIRST = Recipe("spatial", steps=1700, learning_rate=1.5e-3, seed=4)
SECOND = Recipe("spatial_second", steps=3000, learning_rate=7e-4, seed=14)
BATCH = 64
CHANNELS = (64, 128)
HEAD = 16
GROUPS = 16


def build() -> UNet2DConditionModel:
    """Untrained. `attention_head_dim` is the *number* of heads here, and the heads are 16 wide."""
    torch.manual_seed(FIRST.seed)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=tuple(width // HEAD for width in CHANNELS),
        norm_num_groups=GROUPS,
        use_linear_projection=True,
    )


def train_spatial(recipe: Recipe, unet: UNet2DConditionModel, clips: Clips, folder: Path) -> None:
    """Train and save as `folder/spatial/unet`."""
    schedule = scaled_linear()

    def loss(generator: torch.Generator) -> Tensor:
        clean, text = clips.draw(generator, BATCH, frames=True)
        t = stratified(BATCH, generator)
        return velocity_loss(unet, schedule, clean, t, text, generator)

    train(recipe, unet, loss, folder)
    unet.save_pretrained(folder / "spatial" / "unet")


def velocity_loss(
    unet: nn.Module,
    schedule: Schedule,
    clean: Tensor,
    t: Tensor,
    text: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Mean squared error of the predicted velocities of a batch that is noised for it.

    Args:
        unet: on the device of training.
        schedule: of the noise.
        clean: latents, `(batch, channel, height, width)` or with frames before the height.
        t: `(batch,)`, timesteps of the schedule.
        text: hidden states, as the network takes them.
        generator: draws the noise.
    """
    x_t, v = noised(schedule, clean, t, generator)
    x_t, v, t, text = on_device(x_t, v, t, text)
    return mse_loss(unet(x_t, t, text).sample, v)


def stratified(count: int, generator: torch.Generator, low: int = 0, high: int = 1000) -> Tensor:
    """One timestep from each of `count` equal parts of `[low, high)`."""
    place = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return (low + place * (high - low)).long()


def noised(
    schedule: Schedule, clean: Tensor, t: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`x_t` and the velocity that the networks predict, for a batch of timesteps.

    The velocity is `v = signal * eps - noise * clean` (Salimans and Ho, 2022).
    """
    levels = torch.tensor([schedule.level(each) for each in t.tolist()])
    signal, noise = levels.view(-1, 2, *(1,) * (clean.ndim - 1)).unbind(dim=1)
    eps = torch.randn(clean.shape, generator=generator)
    return signal * clean + noise * eps, signal * eps - noise * clean

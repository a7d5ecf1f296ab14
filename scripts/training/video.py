"""The two video experts, started from the spatial one.

Control is a UNetMotionModel, temporal a UNet3D.

What made the direction of motion right: the cross-attention that the image expert brings along
cannot tell left from right (a still image does not show it), so it is trained faster than the rest,
never frozen; and the direction is decided in the first steps, so timesteps are drawn mostly from
there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from torch import Tensor, nn

from confiner_cli.method.schedule import linear
from training import spatial
from training.latents import Clips
from training.loop import Recipe, train
from training.spatial import CHANNELS, GROUPS, HEAD, velocity_loss
from training.text import WIDTH

BATCH = 4
FAST, SLOW = 1.5, 0.6
CONTROL = Recipe(
    "control", steps=6600, learning_rate=8e-4, ema=0.998, seed=5,
    rates={"motion_modules": FAST, "attn2": FAST}, other_rate=SLOW,
)  # fmt: skip
CONTROL_SECOND = replace(CONTROL, name="control_second", steps=5000, learning_rate=5e-4, seed=15)
CONTROL_THIRD = replace(CONTROL_SECOND, name="control_third", seed=25)
TEMPORAL = Recipe(
    "temporal", steps=4400, learning_rate=8e-4, ema=0.998, seed=6,
    rates={"temp_": FAST, "transformer_in": FAST, "attn2": FAST}, other_rate=SLOW,
)  # fmt: skip
TEMPORAL_SECOND = replace(TEMPORAL, name="temporal_second", steps=3300, learning_rate=5e-4, seed=16)
TEMPORAL_THIRD = replace(TEMPORAL_SECOND, name="temporal_third", steps=4000, seed=26)
CONTROL_TIMESTEPS = (999, 999, 749, 749, 499, 249)


def build_control(image: UNet2DConditionModel) -> UNetMotionModel:
    """The spatial UNet with motion modules whose output projections start at zero."""
    torch.manual_seed(CONTROL.seed)
    adapter = MotionAdapter(
        block_out_channels=CHANNELS,
        motion_layers_per_block=1,
        motion_num_attention_heads=4,
        motion_norm_num_groups=GROUPS,
        motion_max_seq_length=32,
    )
    unet = UNetMotionModel.from_unet2d(image, adapter)
    _silence(unet, "motion_modules")
    return unet


def build_temporal(image: UNet2DConditionModel) -> UNet3DConditionModel:
    """A 3D UNet with every tensor of the spatial one; its temporal layers start as the identity."""
    torch.manual_seed(TEMPORAL.seed)
    unet = UNet3DConditionModel(
        sample_size=8,
        block_out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock3D",) * 2,
        up_block_types=("CrossAttnUpBlock3D",) * 2,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=HEAD,
        norm_num_groups=GROUPS,
    )
    missing, unexpected = unet.load_state_dict(image.state_dict(), strict=False)
    assert not unexpected and all("temp_" in key or "transformer_in" in key for key in missing)
    _silence(unet, "temp_attentions", "transformer_in")
    return unet


def _silence(unet: nn.Module, *parts: str) -> None:
    for name, parameter in unet.named_parameters():
        if ".proj_out." in name and any(part in name for part in parts):
            nn.init.zeros_(parameter)


def control_timesteps(count: int, generator: torch.Generator) -> Tensor:
    """Three quarters near the four steps it is used with, the rest uniform."""
    anchors = torch.tensor(CONTROL_TIMESTEPS)[
        torch.randint(len(CONTROL_TIMESTEPS), (count,), generator=generator)
    ]
    near = anchors - torch.randint(40, (count,), generator=generator)
    anywhere = torch.randint(1000, (count,), generator=generator)
    return torch.where(torch.rand(count, generator=generator) < 0.75, near, anywhere)


def temporal_timesteps(count: int, generator: torch.Generator) -> Tensor:
    """A third uniform, a third in the noisier half, a third in the noisiest quarter.

    That is where motion and colour form.
    """
    low = torch.tensor((0, 500, 750))[torch.randint(3, (count,), generator=generator)]
    return low + (torch.rand(count, generator=generator) * (1000 - low)).long()


def load_control(folder: Path) -> UNetMotionModel:
    """What `train_control` left in `folder`."""
    adapter = MotionAdapter.from_pretrained(folder / "control" / "motion_adapter")
    return UNetMotionModel.from_unet2d(
        UNet2DConditionModel.from_pretrained(folder / "control" / "unet"), adapter
    )


def train_control(recipe: Recipe, unet: UNetMotionModel, clips: Clips, folder: Path) -> None:
    """Train on AnimateDiff's schedule.

    Saves `folder/control/unet`, the 2D part, and `folder/control/motion_adapter`.
    """
    schedule = linear(0.00085, 0.012)

    def loss(generator: torch.Generator) -> Tensor:
        clean, text = clips.draw(generator, BATCH)
        t = control_timesteps(BATCH, generator)
        per_frame = text.repeat_interleave(clean.shape[2], dim=0)
        return velocity_loss(unet, schedule, clean, t, per_frame, generator)

    train(recipe, unet, loss, folder)
    unet.save_motion_modules(folder / "control" / "motion_adapter")
    tensors = unet.state_dict()
    base = spatial.build()
    base.load_state_dict({key: tensors[key] for key in base.state_dict()})
    base.save_pretrained(folder / "control" / "unet")


def train_temporal(recipe: Recipe, unet: UNet3DConditionModel, clips: Clips, folder: Path) -> None:
    """Train on LaVie's schedule; save as `folder/temporal/unet`."""
    schedule = linear()

    def loss(generator: torch.Generator) -> Tensor:
        clean, text = clips.draw(generator, BATCH)
        t = temporal_timesteps(BATCH, generator)
        return velocity_loss(unet, schedule, clean, t, text, generator)

    train(recipe, unet, loss, folder)
    unet.save_pretrained(folder / "temporal" / "unet")

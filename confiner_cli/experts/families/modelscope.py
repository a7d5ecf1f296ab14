"""ModelScope and ZeroScope experts (UNet3DConditionModel)."""

from __future__ import annotations

from pathlib import Path

from diffusers.loaders.peft import PeftAdapterMixin
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from torch import Tensor, nn

from confiner_cli.experts.components import Components, Configs
from confiner_cli.experts.conditioning import Conditioning

FRAMEWISE = False
FOLDER_HAS_SCHEDULE = True


class UNet3D(UNet3DConditionModel, PeftAdapterMixin):  # type: ignore[misc]
    """diffusers' UNet, which can be given LoRAs as its other UNets can."""


def build(configs: Configs) -> nn.Module:
    """The UNet of a text-to-video folder."""
    unet: nn.Module = UNet3D.from_config(configs["unet"])
    return unet


def files(components: Components) -> tuple[Path, ...]:
    """Those of `unet/`."""
    return components.files("unet")


def text_width(components: Components) -> int:
    """As `unet/` states it."""
    return int(components.config("unet")["cross_attention_dim"])


def load(components: Components) -> nn.Module:
    """Load `unet/`."""
    unet: nn.Module = components.model("unet", UNet3D)
    return unet


def predict(unet: nn.Module, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
    """The UNet's own layout is ours."""
    prediction: Tensor = unet(x_t, t, conditioning.for_batch(len(x_t)).states).sample
    return prediction

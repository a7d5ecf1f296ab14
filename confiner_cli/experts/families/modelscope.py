"""ModelScope and ZeroScope experts (UNet3DConditionModel)."""

from __future__ import annotations

from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from torch import Tensor, nn

from confiner_cli.experts.components import Components, Configs, Files, without_weights
from confiner_cli.experts.conditioning import Conditioning

FRAMEWISE = False
CLASS = "UNet3DConditionModel"
FOLDER_HAS_SCHEDULE = True


def build(configs: Configs) -> nn.Module:
    """The UNet of a text-to-video folder."""
    unet: nn.Module = UNet3DConditionModel.from_config(configs["unet"])
    return unet


def sources(components: Components) -> Files:
    """Those of `unet/`."""
    return {"unet": components.sources("unet")}


def skeleton(components: Components) -> nn.Module:
    """As `unet/` states it."""
    return without_weights(build, components, "unet")


def text_width(components: Components) -> int:
    """As `unet/` states it."""
    return int(components.config("unet")["cross_attention_dim"])


def load(components: Components) -> nn.Module:
    """Load `unet/`."""
    unet: nn.Module = components.model("unet", UNet3DConditionModel)
    return unet


def predict(unet: nn.Module, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
    """The UNet's own layout is ours."""
    prediction: Tensor = unet(x_t, t, **conditioning.told(len(x_t))).sample
    return prediction

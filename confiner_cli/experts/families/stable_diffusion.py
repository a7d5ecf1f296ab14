"""Text-to-image experts (UNet2DConditionModel): frames are a batch, each on its own."""

from __future__ import annotations

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from confiner_cli.experts.components import Components, Configs, Files, without_weights
from confiner_cli.experts.conditioning import Conditioning

FRAMEWISE = True
CLASS = "UNet2DConditionModel"
FOLDER_HAS_SCHEDULE = True


def build(configs: Configs) -> nn.Module:
    """The UNet of a Stable Diffusion folder."""
    unet: nn.Module = UNet2DConditionModel.from_config(configs["unet"])
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
    unet: nn.Module = components.model("unet", UNet2DConditionModel)
    return unet


def predict(unet: nn.Module, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
    """Predict all frames of all samples as one batch."""
    batch, _, count, _, _ = x_t.shape
    frames = x_t.transpose(1, 2).flatten(0, 1)
    if t.ndim:  # each sample's own: that of all its frames
        t = t.repeat_interleave(count)
    prediction: Tensor = unet(frames, t, **conditioning.told(batch * count)).sample
    return prediction.reshape(batch, count, *prediction.shape[1:]).transpose(1, 2)

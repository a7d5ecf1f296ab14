"""ModelScope and ZeroScope experts (UNet3DConditionModel)."""

from __future__ import annotations

from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from torch import Tensor

from confiner_cli.experts.parts import Network, Parts


def load(parts: Parts) -> Network:
    """Load `unet/` of a text-to-video folder."""
    unet = parts.model("unet", UNet3DConditionModel)

    def network(x_t: Tensor, t: int, text: Tensor) -> Tensor:
        prediction: Tensor = unet(x_t, t, text).sample
        return prediction

    return network

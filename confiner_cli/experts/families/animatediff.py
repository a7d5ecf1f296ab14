"""AnimateDiff experts (UNetMotionModel): a Stable Diffusion UNet with a motion adapter."""

from __future__ import annotations

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from torch import Tensor

from confiner_cli.experts.parts import Network, Parts


def load(parts: Parts) -> Network:
    """Load `unet/` and `motion_adapter/` and put the one into the other."""
    base = parts.model("unet", UNet2DConditionModel)
    adapter = parts.model("motion_adapter", MotionAdapter)
    unet = UNetMotionModel.from_unet2d(base, adapter).eval().requires_grad_(False)

    def network(x_t: Tensor, t: int, text: Tensor) -> Tensor:
        prediction: Tensor = unet(x_t, t, text.repeat_interleave(x_t.shape[2], dim=0)).sample
        return prediction

    return network

"""Text-to-image experts (UNet2DConditionModel): frames are a batch, each on its own."""

from __future__ import annotations

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from confiner_cli.experts.parts import Network, Parts


def load(parts: Parts) -> Network:
    """Load `unet/` of a Stable Diffusion folder."""
    unet = parts.model("unet", UNet2DConditionModel)

    def network(x_t: Tensor, t: int, text: Tensor) -> Tensor:
        batch, _, count, _, _ = x_t.shape
        frames = x_t.transpose(1, 2).flatten(0, 1)
        prediction: Tensor = unet(frames, t, text.repeat_interleave(count, dim=0)).sample
        return prediction.reshape(batch, count, *prediction.shape[1:]).transpose(1, 2)

    return network

"""LaVie experts (our LaVieUNet): one file, `lavie_base.safetensors` or the published `lavie_base.pt`."""

from __future__ import annotations

from torch import Tensor

from confiner_cli.experts.lavie_checkpoint import load_unet
from confiner_cli.experts.parts import Network, Parts


def load(parts: Parts) -> Network:
    """Load the checkpoint that the model's folder holds, or that the model is."""
    unet = load_unet(parts.checkpoint("lavie_base")).to(parts.device, parts.dtype)

    def network(x_t: Tensor, t: int, text: Tensor) -> Tensor:
        prediction: Tensor = unet(x_t, t, text).sample
        return prediction

    return network

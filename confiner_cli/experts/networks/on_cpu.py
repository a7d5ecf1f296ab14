"""Networks as a CPU computes them fastest: the same weights, laid out and arranged for it.

What pays was measured (docs/benchmarks.md). On other devices nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers.models.activations import GEGLU
from torch import nn

from confiner_cli.experts.networks.gated_units import SplitGEGLU
from confiner_cli.experts.networks.temporal_convolution import TemporalConv, is_temporal
from confiner_cli.experts.networks.upsampling import UpsampledConv, doubles


def arranged_unet(unet: nn.Module, device: torch.device) -> nn.Module:
    """The UNet, the channels of its convolutions last, its layers as they are faster."""
    return _arranged(unet, _unet_layer) if device.type == "cpu" else unet


def arranged_vae(vae: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The same for a VAE, whose decoder enlarges and convolves in one step.

    Not in 16 bits, where summed weights would be rounded once more.
    """
    if device.type != "cpu":
        return vae
    return _arranged(vae, _vae_layer if dtype == torch.float32 else _kept)


def _arranged(module: nn.Module, arrange: Callable[[nn.Module], nn.Module]) -> nn.Module:
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            setattr(parent, name, arrange(layer))
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def _unet_layer(layer: nn.Module) -> nn.Module:
    if isinstance(layer, GEGLU):
        return SplitGEGLU(layer.proj)
    return TemporalConv(layer) if is_temporal(layer) else layer


def _vae_layer(layer: nn.Module) -> nn.Module:
    return UpsampledConv(layer.conv) if doubles(layer) else layer


def _kept(layer: nn.Module) -> nn.Module:
    return layer

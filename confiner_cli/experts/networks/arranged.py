"""Networks as their device computes them fastest: the same weights, laid out and arranged for it.

What pays was measured (docs/benchmarks.md). On a device that is neither a CPU nor CUDA's nothing is
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from confiner_cli.experts.networks.gated_units import SplitGEGLU
from confiner_cli.experts.networks.group_norm import WideGroupNorm
from confiner_cli.experts.networks.temporal_convolution import TemporalConv, is_temporal
from confiner_cli.experts.networks.upsampling import UpsampledConv, doubles

Arrange: TypeAlias = Callable[[nn.Module], nn.Module]


def arranged_unet(unet: nn.Module, device: torch.device) -> nn.Module:
    """The UNet, its layers as they are faster; on a CPU the channels of convolutions are last."""
    return _arranged(unet, UNET_LAYERS.get(device.type, _kept), device)


def arranged_vae(vae: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The same for a VAE, whose decoder enlarges and convolves in one step on a CPU.

    Not in 16 bits, where summed weights would be rounded once more.
    """
    if device.type == "cpu" and dtype != torch.float32:
        return _arranged(vae, _kept, device)
    return _arranged(vae, VAE_LAYERS.get(device.type, _kept), device)


def _arranged(module: nn.Module, arrange: Arrange, device: torch.device) -> nn.Module:
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            setattr(parent, name, arrange(layer))
    if device.type == "cpu":
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def _unet_layer_of_cpu(layer: nn.Module) -> nn.Module:
    if isinstance(layer, GEGLU):
        return SplitGEGLU(layer.proj)
    return TemporalConv(layer) if is_temporal(layer) else layer


def _vae_layer_of_cpu(layer: nn.Module) -> nn.Module:
    return UpsampledConv(layer.conv) if doubles(layer) else layer


def _unet_layer_of_gpu(layer: nn.Module) -> nn.Module:
    return WideGroupNorm(layer) if type(layer) is nn.GroupNorm and layer.affine else layer


def _vae_layer_of_gpu(layer: nn.Module) -> nn.Module:
    if isinstance(layer, Attention) and type(layer.processor) is AttnProcessor2_0:
        layer.set_processor(RowsFirst())
    return layer


def _kept(layer: nn.Module) -> nn.Module:
    return layer


class RowsFirst(AttnProcessor2_0):  # type: ignore[misc]
    """diffusers' attention in an image, whose answer has its channels last no more.

    Everything after it would, and a GPU's norms and sums of two layouts copy that.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """`(batch, channel, height, width)`."""
        attended: Tensor = super().__call__(
            attn, hidden_states, encoder_hidden_states, attention_mask, temb
        )
        return attended.contiguous()


UNET_LAYERS: Mapping[str, Arrange] = MappingProxyType(
    {"cpu": _unet_layer_of_cpu, "cuda": _unet_layer_of_gpu}
)
VAE_LAYERS: Mapping[str, Arrange] = MappingProxyType(
    {"cpu": _vae_layer_of_cpu, "cuda": _vae_layer_of_gpu}
)

"""Enlarging an image twice and convolving it, in four ninths of the products."""

from __future__ import annotations

from typing import TypeGuard

import torch
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d


class UpsampledConv(nn.Module):
    """diffusers' `Upsample2D`, nearest pixels and a 3 x 3 convolution, as a transposed convolution.

    Of the nine pixels under a kernel four are different. Summing the weights of equal ones first
    leaves a kernel of 4 x 4 with a stride of 2, of which each output pixel meets 2 x 2.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        """Take over the weights of a 3 x 3 convolution with a padding of 1."""
        super().__init__()
        self.weight = nn.Parameter(_summed(conv.weight), requires_grad=False)
        self.bias = conv.bias

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`(batch, channel, height, width)` to twice its height and width."""
        return conv_transpose2d(hidden_states, self.weight, self.bias, stride=2, padding=1)


def doubles(block: nn.Module) -> TypeGuard[Upsample2D]:
    """Whether it is an `Upsample2D` that this replaces where it is told no other size."""
    conv = getattr(block, "conv", None)
    return (
        isinstance(block, Upsample2D)
        and isinstance(conv, nn.Conv2d)
        and (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))
        and bool(block.interpolate)
        and block.norm is None
    )


@torch.no_grad()
def _summed(weight: Tensor) -> Tensor:
    """`(out, in, 3, 3)` to the transposed convolution's `(in, out, 4, 4)`."""
    mirrored = weight.flip(2, 3).flatten(0, 1)[:, None]
    box = torch.ones(1, 1, 2, 2, dtype=weight.dtype, device=weight.device)
    summed = conv2d(mirrored, box, padding=1).view(*weight.shape[:2], 4, 4)
    return summed.transpose(0, 1).contiguous(memory_format=torch.channels_last)

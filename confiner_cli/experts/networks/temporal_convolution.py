"""A convolution over frames alone, as one over a picture whose rows are frames."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d


class TemporalConv(nn.Module):
    """A `Conv3d` whose kernel is one pixel, as a `Conv2d` over frames and positions.

    The same products. But on a CPU torch takes a `Conv3d` of one sample apart.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        """Take over the weights of a convolution that `is_temporal`."""
        super().__init__()
        flat = conv.weight.data[..., 0].contiguous(memory_format=torch.channels_last)
        self.weight = nn.Parameter(flat, requires_grad=False)
        self.bias = conv.bias
        self.padding = int(conv.padding[0])

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, channel, frame, height, width)`; the size is kept."""
        rows = conv2d(x.flatten(3), self.weight, self.bias, padding=(self.padding, 0))
        return torch.unflatten(rows, 3, x.shape[3:])


def is_temporal(conv: nn.Module) -> TypeGuard[nn.Conv3d]:
    """Whether it is a plain convolution over frames that sees one pixel of each."""
    return (
        isinstance(conv, nn.Conv3d)
        and conv.kernel_size[1:] == (1, 1)
        and conv.padding == (conv.kernel_size[0] // 2, 0, 0)
        and conv.stride == conv.dilation == (1, 1, 1)
        and (conv.groups, conv.padding_mode) == (1, "zeros")
    )

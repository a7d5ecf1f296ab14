"""Group norm of few samples, which a GPU computes with one block of threads a group.

A video that is normed as one sample has 32 groups, and a GPU room for hundreds of blocks: norms of
a whole video took a quarter of a temporal expert's time (docs/benchmarks.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

ENOUGH = 256
"""Groups that keep a GPU busy."""
LARGE = 400_000
"""Numbers in a group of which more blocks take less time than it takes to start them."""


class WideGroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` by `group_norm`."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        """Take over the weights of a norm that has some."""
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, device="meta")
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, channel, ...)`, kept."""
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def group_norm(x: Tensor, num_groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """The `group_norm` of torch; on a GPU many blocks compute the moments of few large groups.

    A compiler has blocks of its own, and its graph is for all numbers of frames.
    """
    if x.device.type != "cuda" or torch.compiler.is_compiling():
        return functional.group_norm(x, num_groups, weight, bias, eps)
    count = len(x) * num_groups
    if count >= ENOUGH or x.numel() < LARGE * count:
        return functional.group_norm(x, num_groups, weight, bias, eps)
    return of_few_groups(x, num_groups, weight, bias, eps)


def of_few_groups(x: Tensor, num_groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """The same by the moments of each group, in float32 at least, which its channels then have."""
    x = x.contiguous()
    groups = x.view(len(x), num_groups, -1)
    precision = torch.promote_types(x.dtype, torch.float32)
    variance, mean = torch.var_mean(groups.to(precision), dim=-1, correction=0)
    each = x.shape[1] // num_groups
    mean, variance = (
        moment.repeat_interleave(each, dim=1).flatten() for moment in (mean, variance)
    )
    gain, shift = (values.to(mean.dtype).repeat(len(x)) for values in (weight, bias))
    channels = x.view(1, len(x) * x.shape[1], -1)
    normed = functional.batch_norm(channels, mean, variance, gain, shift, eps=eps)
    return normed.view(x.shape)

"""The blocks of LaVie's UNet (arXiv 2309.15103): frames are a batch, the frame index fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn.functional import silu

from confiner_cli.experts.networks.group_norm import group_norm
from confiner_cli.experts.networks.temporal_attention import TemporalAttention
from confiner_cli.experts.networks.text_attention import TextMemory

TRANSFORMER_NORM_EPS = 1e-6


@dataclass(frozen=True)
class Context:
    """What every block needs beside the features.

    Attributes:
        time: `(batch, 4 * width)`.
        text: `(batch * frame, token, channel)`; unread where there is a memory of it.
        memory: what the layers remember of the text.
        frames: how many, in each batch element.
        buckets: `(frame, frame)`, see `relative_buckets`.
    """

    time: Tensor
    text: Tensor
    memory: TextMemory
    frames: int
    buckets: Tensor


class JointGroupNorm(nn.GroupNorm):
    """A group norm whose statistics go over all frames of a batch element."""

    def forward(self, x: Tensor, frames: int) -> Tensor:  # type: ignore[override]
        """Normalise `(batch * frame, channel, height, width)`."""
        joint = torch.unflatten(x, 0, (-1, frames)).transpose(1, 2)
        normed = group_norm(joint, self.num_groups, self.weight, self.bias, self.eps)
        return normed.transpose(1, 2).flatten(0, 1)


class Resnet(nn.Module):
    """Norm, convolution, time; norm, convolution; plus the input."""

    def __init__(self, before: int, after: int, time_width: int, groups: int, eps: float) -> None:
        super().__init__()
        self.norm1 = JointGroupNorm(groups, before, eps)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_width, after)
        self.norm2 = JointGroupNorm(groups, after, eps)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """`(batch * frame, before, height, width)` to `(batch * frame, after, height, width)`."""
        time = self.time_emb_proj(silu(context.time)).repeat_interleave(context.frames, dim=0)
        hidden = self.conv1(silu(self.norm1(x, context.frames))) + time[:, :, None, None]
        hidden = self.conv2(silu(self.norm2(hidden, context.frames)))
        out: Tensor = self.conv_shortcut(x) + hidden
        return out


class TransformerBlock(nn.Module):
    """Attention to the frame, the text and the other frames, then a feed-forward.

    Each is on a normed input.
    """

    def __init__(self, width: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm_temp, self.norm3 = (nn.LayerNorm(width) for _ in range(4))
        self.attn1 = Attention(width, heads=heads, dim_head=width // heads)
        self.attn2 = Attention(
            width, cross_attention_dim=text_width, heads=heads, dim_head=width // heads
        )
        self.attn_temp = TemporalAttention(width, heads)
        self.ff = FeedForward(width, activation_fn="geglu")

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """`(batch * frame, position, channel)`, kept."""
        x = x + self.attn1(self.norm1(x))
        told = {"text": context.memory} if context.memory else {}
        x = x + self.attn2(self.norm2(x), context.text, **told)
        # To (batch * position, frame, channel) and back.
        positions = x.shape[1]
        x = torch.unflatten(x, 0, (-1, context.frames)).transpose(1, 2).flatten(0, 1)
        x = x + self.attn_temp(self.norm_temp(x), context.buckets)
        x = torch.unflatten(x, 0, (-1, positions)).transpose(1, 2).flatten(0, 1)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class Transformer(nn.Module):
    """A transformer block between two 1 x 1 convolutions, plus the input.

    Its norm is each frame's own.
    """

    def __init__(self, width: int, heads: int, text_width: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, TRANSFORMER_NORM_EPS)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, heads, text_width)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """`(batch * frame, channel, height, width)`, kept."""
        hidden = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        hidden = self.transformer_blocks[0](hidden, context)
        out: Tensor = x + self.proj_out(hidden.transpose(1, 2).reshape(x.shape))
        return out


class Resampler(nn.Module):
    """The convolution of a down- or upsampler, under the name that checkpoints have for it."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch * frame, channel, height, width)`; a stride of 2 halves the sides, rounded up."""
        out: Tensor = self.conv(x)
        return out


class Stage(nn.Module):
    """Resnets, each followed by a transformer if it has any, and the next level's resampler."""

    def __init__(self, resnets: list[Resnet], transformers: list[Transformer]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList(transformers)
        self.downsamplers = nn.ModuleList()
        self.upsamplers = nn.ModuleList()

    def layers(self) -> Iterator[Callable[[Tensor, Context], Tensor]]:
        """Each resnet with its transformer."""
        for number, resnet in enumerate(self.resnets):
            after = self.attentions[number : number + 1]
            yield partial(_in_turn, (resnet, *after))


def _in_turn(modules: tuple[nn.Module, ...], x: Tensor, context: Context) -> Tensor:
    for module in modules:
        x = module(x, context)
    return x

"""LaVie's UNet (arXiv 2309.15103): Stable Diffusion's, with attention over frames in every block.

Two things differ from UNet2DConditionModel: each transformer block has a temporal self-attention
between the text and the feed-forward, and the residual blocks' norms take their statistics over all
frames together. Inside, frames are a batch, `(batch * frame, channel, height, width)`, the frame
index fastest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from confiner_cli.experts.networks.lavie_blocks import (
    Context,
    JointGroupNorm,
    Resampler,
    Resnet,
    Stage,
    Transformer,
)
from confiner_cli.experts.networks.temporal_attention import relative_buckets
from confiner_cli.experts.networks.text_attention import TextMemory

FIXED = {
    "act_fn": "silu",
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "resnet_time_scale_shift": "default",
    "resnet_out_scale_factor": 1,
    "time_embedding_type": "positional",
    "attention_type": "default",
    "transformer_layers_per_block": 1,
    "dropout": 0,
}
"""What the architecture has instead of a choice: a config that says otherwise is not LaVie's."""
UNREAD = ("sample_size", "use_first_frame")
"""Keys of a config that change nothing."""


@dataclass(frozen=True)
class Sample:
    """What the UNet returns. `sample` is the prediction, in the shape of the input."""

    sample: Tensor


@dataclass(frozen=True)
class _Widths:
    """The widths of everything; `heads` by level."""

    widths: tuple[int, ...]
    heads: tuple[int, ...]
    layers: int
    text_width: int
    groups: int
    eps: float

    @property
    def time_width(self) -> int:
        return 4 * self.widths[0]

    def down(self, level: int, kind: str) -> Stage:
        befores = [self.widths[max(0, level - 1)]] + [self.widths[level]] * (self.layers - 1)
        block = self._level(level, befores, "CrossAttn" in kind)
        if level < len(self.widths) - 1:
            block.downsamplers.append(Resampler(self.widths[level], stride=2))
        return block

    def middle(self) -> Stage:
        last = len(self.widths) - 1
        resnets = [self._resnet(self.widths[last], last) for _ in range(2)]
        return Stage(resnets, [self._transformer(last)])

    def up(self, level: int, kind: str) -> Stage:
        """Its resnets also get what the way down left at the same resolution, the last first."""
        below = self.widths[min(level + 1, len(self.widths) - 1)]
        skips = [self.widths[level]] * self.layers + [self.widths[max(0, level - 1)]]
        befores = [below] + [self.widths[level]] * self.layers
        inputs = [before + skip for before, skip in zip(befores, skips, strict=True)]
        block = self._level(level, inputs, "CrossAttn" in kind)
        if level > 0:
            block.upsamplers.append(Resampler(self.widths[level], stride=1))
        return block

    def _level(self, level: int, befores: list[int], attention: bool) -> Stage:
        resnets = [self._resnet(before, level) for before in befores]
        transformers = [self._transformer(level) for _ in befores if attention]
        return Stage(resnets, transformers)

    def _resnet(self, before: int, level: int) -> Resnet:
        return Resnet(before, self.widths[level], self.time_width, self.groups, self.eps)

    def _transformer(self, level: int) -> Transformer:
        return Transformer(self.widths[level], self.heads[level], self.text_width, self.groups)


class LaVieUNet(nn.Module):
    """The denoiser of LaVie's base model.

    Its state dict has the keys of `lavie_base.pt`; without those that hold `_temp` they are Stable
    Diffusion 1.x's.

    Args:
        in_channels, out_channels: of the latents.
        block_out_channels: width by level, finest first.
        down_block_types, up_block_types: a level has attention if its type's name says `CrossAttn`.
        layers_per_block: resnets of a level on the way down; on the way up there is one more.
        cross_attention_dim: channels of the text's hidden states.
        attention_head_dim: the *number* of heads (Stable Diffusion 1.x's misnomer), of all levels
            or of each.
        norm_num_groups, norm_eps: of the resnets' norms.
        flip_sin_to_cos, freq_shift: of the timestep's embedding.
        others: more keys of a diffusers UNet config, which must say what this architecture has.

    Raises:
        ValueError: a key that asks for another architecture, or widths that heads or groups do not
            divide.
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        block_out_channels: Sequence[int] = (320, 640, 1280, 1280),
        down_block_types: Sequence[str] = ("CrossAttnDownBlock3D",) * 3 + ("DownBlock3D",),
        up_block_types: Sequence[str] = ("UpBlock3D",) + ("CrossAttnUpBlock3D",) * 3,
        layers_per_block: int = 2,
        cross_attention_dim: int = 768,
        attention_head_dim: int | Sequence[int] = 8,
        norm_num_groups: int = 32,
        norm_eps: float = 1e-5,
        flip_sin_to_cos: bool = True,
        freq_shift: float = 0,
        **others: Any,
    ) -> None:
        _check(others)
        super().__init__()
        widths, levels = tuple(block_out_channels), len(block_out_channels)
        if not levels == len(down_block_types) == len(up_block_types):
            raise ValueError(
                f"{levels} widths for {len(down_block_types)} down and "
                f"{len(up_block_types)} up blocks"
            )
        if isinstance(attention_head_dim, int):
            attention_head_dim = (attention_head_dim,) * levels
        heads = tuple(attention_head_dim)
        build = _Widths(
            widths, heads, layers_per_block, cross_attention_dim, norm_num_groups, norm_eps
        )
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.time_proj = Timesteps(widths[0], flip_sin_to_cos, freq_shift)
        self.time_embedding = TimestepEmbedding(widths[0], build.time_width)
        self.down_blocks = nn.ModuleList(
            build.down(level, kind) for level, kind in enumerate(down_block_types)
        )
        self.mid_block = build.middle()
        kinds = zip(reversed(range(levels)), up_block_types, strict=True)
        self.up_blocks = nn.ModuleList(build.up(level, kind) for level, kind in kinds)
        self.conv_norm_out = JointGroupNorm(norm_num_groups, widths[0], norm_eps)
        self.conv_out = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        cross_attention_kwargs: Mapping[str, TextMemory] | None = None,
    ) -> Sample:
        """Predict the noise.

        Args:
            sample: `(batch, channel, frame, height, width)`, any number of frames and any size.
            timestep: one for all, or `(batch,)`; whole or not.
            encoder_hidden_states: `(batch, token, channel)`.
            cross_attention_kwargs: what attention gets beside it, as in diffusers: `text`.
        """
        batch, _, frames, _, _ = sample.shape
        memory = dict(cross_attention_kwargs or {}).get("text", ())
        context = self._context(timestep, encoder_hidden_states, memory, sample)
        x = self.conv_in(sample.transpose(1, 2).flatten(0, 1))
        skips = [x]
        for block in cast("Iterable[Stage]", self.down_blocks):
            for layer in block.layers():
                x = layer(x, context)
                skips.append(x)
            for downsample in block.downsamplers:
                x = downsample(x)
                skips.append(x)
        for layer in self.mid_block.layers():
            x = layer(x, context)
        for block in cast("Iterable[Stage]", self.up_blocks):
            for layer in block.layers():
                x = layer(torch.cat((x, skips.pop()), dim=1), context)
            for upsample in block.upsamplers:
                x = upsample(interpolate(x, size=skips[-1].shape[-2:]))  # the nearest pixel
        x = self.conv_out(silu(self.conv_norm_out(x, frames)))
        return Sample(torch.unflatten(x, 0, (batch, frames)).transpose(1, 2))

    def _context(
        self, timestep: Tensor | float, text: Tensor, memory: TextMemory, sample: Tensor
    ) -> Context:
        batch, _, frames, _, _ = sample.shape
        t = torch.as_tensor(timestep, device=sample.device).reshape(-1).expand(batch)
        return Context(
            time=self.time_embedding(self.time_proj(t).to(sample.dtype)),
            text=text if memory else text.repeat_interleave(frames, dim=0),
            memory=memory,
            frames=frames,
            buckets=relative_buckets(frames, sample.device),
        )


def _check(others: dict[str, Any]) -> None:
    for key, value in others.items():
        ours = FIXED.get(key, "nothing of the kind")
        if key.startswith("_") or key in UNREAD or value in (None, False, ours):
            continue
        raise ValueError(f"{key}={value!r} is not what LaVie's UNet has: {ours}")

"""Networks in the original layout of Stable Diffusion, as checkpoints are passed around."""

from __future__ import annotations

import re

from support import published
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTER = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    # Two levels, one layer each, text in the first: what published.UNET_2D has.
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.attentions.0": "input_blocks.1.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.attentions.0": "output_blocks.2.1",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "up_blocks.1.attentions.1": "output_blocks.3.1",
}


def original_unet(key: str) -> str:
    """The name of a UNet's tensor in the original layout."""
    outer = next(name for name in OUTER if key.startswith(f"{name}."))
    inner = key.removeprefix(f"{outer}.")
    first, _, rest = inner.partition(".")
    if "resnets" in outer and first in RESNET:
        inner = f"{RESNET[first]}.{rest}"
    return f"model.diffusion_model.{OUTER[outer]}.{inner}"


def original_vae(key: str) -> str:
    """The name of a VAE's tensor in the original layout, from its published name."""
    levels = len(published.VAE["block_out_channels"])
    key = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(
        r"up_blocks\.(\d+)\.resnets\.(\d+)",
        lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}",
        key,
    )
    key = re.sub(
        r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", key
    )
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    for ours, theirs in (
        ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
        ("mid_block.attentions.0.query", "mid.attn_1.q"),
        ("mid_block.attentions.0.key", "mid.attn_1.k"),
        ("mid_block.attentions.0.value", "mid.attn_1.v"),
        ("mid_block.attentions.0.proj_attn", "mid.attn_1.proj_out"),
        ("conv_shortcut", "nin_shortcut"),
        ("conv_norm_out", "norm_out"),
    ):
        key = key.replace(ours, theirs)
    return f"first_stage_model.{key}"


def unet(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {original_unet(key): value.contiguous() for key, value in tensors.items()}

"""The names that the tensors of Wan's networks have in Alibaba's own release.

Its modules are written otherwise than diffusers' and transformers', which took its files over by
renaming: diffusers' scripts/convert_wan_to_diffusers.py, of which this is the way back.
"""

from __future__ import annotations

import re

TRANSFORMER = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("proj_out", "head.head"),
    (r"^scale_shift_table", "head.modulation"),
    ("scale_shift_table", "modulation"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
    ("norm2", "norm3"),  # the only norm with weights: the others are not in the files
    ("attn1", "self_attn"),
    ("attn2", "cross_attn"),
    (r"to_([qkv])", r"\1"),
    ("to_out.0", "o"),
)
TEXT = (
    ("encoder.final_layer_norm", "norm"),
    ("shared", "token_embedding"),
    ("encoder.block", "blocks"),
    ("layer.0.SelfAttention.relative_attention_bias", "pos_embedding.embedding"),
    ("layer.0.SelfAttention", "attn"),
    ("layer.0.layer_norm", "norm1"),
    ("layer.1.layer_norm", "norm2"),
    ("layer.1.DenseReluDense.wi_0", "ffn.gate.0"),
    ("layer.1.DenseReluDense.wi_1", "ffn.fc1"),
    ("layer.1.DenseReluDense.wo", "ffn.fc2"),
)
VAE = (
    ("post_quant_conv", "conv_after"),
    ("quant_conv", "conv_before"),
    (r"norm1\b", "residual.0"),
    (r"conv1\b", "residual.2"),
    (r"norm2\b", "residual.3"),
    (r"conv2\b", "residual.6"),
    ("conv_after", "conv2"),
    ("conv_before", "conv1"),
    ("conv_shortcut", "shortcut"),
    ("norm_out", "head.0"),
    ("conv_out", "head.2"),
    ("conv_in", "conv1"),
    ("mid_block.resnets.0", "middle.0"),
    ("mid_block.attentions.0", "middle.1"),
    ("mid_block.resnets.1", "middle.2"),
    ("down_blocks", "downsamples"),
)
LEVEL = 4
"""Layers of a level of the VAE's decoder: three blocks, then what makes it larger."""


def original_transformer(key: str) -> str:
    return _renamed(key, TRANSFORMER)


def original_text(key: str) -> str:
    return _renamed(key, TEXT)


def original_vae(key: str) -> str:
    return _renamed(re.sub(r"up_blocks\.(\d)\.(resnets|upsamplers)\.(\d)", _counted, key), VAE)


def _counted(found: re.Match[str]) -> str:
    """The decoder's layers are counted through in the release, by level in diffusers."""
    level, kind, layer = found.groups()
    return f"upsamples.{LEVEL * int(level) + (int(layer) if kind == 'resnets' else LEVEL - 1)}"


def _renamed(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, name in names:
        key = re.sub(pattern, name, key)
    return key

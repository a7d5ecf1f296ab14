"""Networks of every family with random weights, as small as diffusers' classes get."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from support import umt5_files
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.umt5.configuration_umt5 import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

from confiner_cli.experts.networks.lavie import LaVieUNet
from training.tokenizer import byte_level
from wan.folder import TEXT_ENCODER, TINY, TRANSFORMER

CHANNELS = (8, 16)
GROUPS = 4
WIDTH = 16
TOKENS = 24


def write(folder: Path) -> None:
    """Write `control`, `spatial`, `temporal`, `lavie` and `wan`, and what they share."""
    torch.manual_seed(0)
    for role in ("control", "spatial"):
        unet_2d().save_pretrained(folder / role / "unet")
    unet_3d().save_pretrained(folder / "temporal" / "unet")
    write_lavie(folder / "lavie")
    motion_adapter().save_pretrained(folder / "control" / "motion_adapter")
    vae().save_pretrained(folder / "shared" / "vae")
    tokenizer = spelling_tokenizer()
    tokenizer.save_pretrained(folder / "shared" / "tokenizer")
    text_encoder(tokenizer).save_pretrained(folder / "shared" / "text_encoder")
    wan_transformer().save_pretrained(folder / "wan" / "transformer")
    video_vae().save_pretrained(folder / "wan_shared" / "vae")
    umt5_files.write(folder / "wan_shared")


def unet_2d() -> UNet2DConditionModel:
    """`attention_head_dim` is the number of heads here."""
    return UNet2DConditionModel(**_unet("2D"), attention_head_dim=2, use_linear_projection=True)


def unet_3d() -> UNet3DConditionModel:
    """`attention_head_dim` is the size of a head here."""
    return UNet3DConditionModel(**_unet("3D"), attention_head_dim=4)


def _unet(kind: str) -> dict[str, Any]:
    return {
        "sample_size": 2,
        "block_out_channels": CHANNELS,
        "down_block_types": (f"CrossAttnDownBlock{kind}", f"DownBlock{kind}"),
        "up_block_types": (f"UpBlock{kind}", f"CrossAttnUpBlock{kind}"),
        "layers_per_block": 1,
        "cross_attention_dim": WIDTH,
        "norm_num_groups": GROUPS,
    }


def motion_adapter() -> MotionAdapter:
    """Motion modules for `unet_2d`."""
    return MotionAdapter(
        block_out_channels=CHANNELS,
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=GROUPS,
        motion_max_seq_length=16,
    )


LAVIE = {**_unet("3D"), "block_out_channels": (32, 64), "attention_head_dim": 1}
"""LaVie's heads are 32 channels wide at least."""


def write_lavie(folder: Path) -> None:
    """A checkpoint as it is published, a pickle with one table under many names, and its config."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = LaVieUNet(**LAVIE).state_dict()
    table = next(value for key, value in tensors.items() if key.endswith("rotary_emb.freqs"))
    tensors = {
        key: table if key.endswith("rotary_emb.freqs") else value for key, value in tensors.items()
    }
    torch.save({"ema": tensors}, folder / "lavie_base.pt")
    (folder / "config.json").write_text(
        json.dumps({"_class_name": "LaVieUNet", **LAVIE}), encoding="utf-8"
    )


def vae() -> AutoencoderKL:
    """8 pixels a latent."""
    return AutoencoderKL(
        block_out_channels=(4, 4, 4, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=2,
        mid_block_add_attention=False,
    )


VIDEO = {
    "base_dim": 3,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
}
"""Wan 2.1's VAE."""
PATCHES = {"patch_size": 2, "in_channels": 12, "out_channels": 12, "scale_factor_spatial": 16}
RESIDUAL = {**VIDEO, **PATCHES, "is_residual": True}
"""Wan 2.2's."""


def video_vae(**config: Any) -> AutoencoderKLWan:
    """4 frames a latent frame; 8 pixels a latent, 16 of `RESIDUAL`. It clips some of its pixels."""
    torch.manual_seed(0)
    made = AutoencoderKLWan(**(config or VIDEO)).eval().requires_grad_(False)
    made.decoder.conv_out.weight.mul_(10)
    return made


def preview(factor: int = 8) -> AutoencoderTiny:
    """As TAESD, for the latents of `vae`."""
    levels = factor.bit_length()
    return AutoencoderTiny(
        encoder_block_out_channels=(4,) * levels,
        decoder_block_out_channels=(4,) * levels,
        num_encoder_blocks=(1,) * levels,
        num_decoder_blocks=(1,) * levels,
    )


def spelling_tokenizer(merges: Sequence[tuple[str, str]] = ()) -> CLIPTokenizer:
    """CLIP's tokenizer with few merges, or none: every character is a token."""
    return byte_level(TOKENS, merges)


def text_encoder(tokenizer: CLIPTokenizer, width: int = WIDTH) -> CLIPTextModel:
    """One layer, with weights large enough that texts differ."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_factor=10.0,
    )
    return CLIPTextModel(config)


def wan_transformer() -> WanTransformer3DModel:
    """Of no number of it is known in advance that 16 bits are enough for it."""
    return _drawn(WanTransformer3DModel(**TRANSFORMER | TINY["transformer"]))


def umt5() -> UMT5EncoderModel:
    """Its table of words has two names."""
    return _drawn(UMT5EncoderModel(UMT5Config(**TEXT_ENCODER | TINY["text_encoder"])))


def _drawn(module: Any) -> Any:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3)
    return module

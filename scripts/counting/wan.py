"""Wan's networks: tokens of all frames attend to each other, and a latent frame is four frames."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor
from transformers.models.umt5.configuration_umt5 import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

from counting.subject import LATENT, ONE_PROMPT, Fit, Size, Subject, built, empty

TOKENS = 512
"""What diffusers' WanPipeline pads a prompt to."""
WHOLE_VIDEO = Fit(
    # From three latent frames on the VAE keeps as much as it ever will, and from these sides on
    # a transformer's peak is in its blocks, not in the text's projection.
    fitted=tuple(
        (frames, *size)
        for frames, size in itertools.product((9, 13, 17), ((256, 256), (256, 512), (512, 512)))
    ),
    held_out=((9, 320, 512), (16, 576, 1024), (81, 480, 832)),
    flops_terms=(0, 1, 2, 3, 4, 5, 6),
    bytes_terms=(0, 2, 6),
    time_factor=4,
)


def transformer(config: Mapping[str, Any]) -> Subject:
    """A pass in bfloat16, but for what diffusers keeps in 32 bits, over one padded prompt."""
    module = built(lambda: WanTransformer3DModel.from_config(config), torch.bfloat16)
    for name, part in module.named_modules():
        if name.rpartition(".")[2] in module._keep_in_fp32_modules:
            part.float()
    states = empty(1, TOKENS, config["text_dim"], dtype=torch.bfloat16)
    timestep = torch.full((1,), 100.0, device="meta")
    return Subject(
        module,
        lambda size: (_latents(config["in_channels"], size, torch.bfloat16), timestep, states),
        lambda x_t, t, text: module(x_t, t, text).sample,
        WHOLE_VIDEO,
    )


def vae(config: Mapping[str, Any]) -> Subject:
    """The decoder, in 32 bits as it always computes."""
    module = built(lambda: AutoencoderKLWan.from_config(config), torch.float32)
    return Subject(
        module,
        lambda size: (_latents(config["z_dim"], size, torch.float32),),
        lambda latents: decode_in_turn(module, latents),
        WHOLE_VIDEO,
    )


def decode_in_turn(module: Any, latents: Tensor) -> None:
    """Decode one latent frame after another, whose pixels are handed on: they are not kept.

    What the convolutions need of the frames before stays.
    """
    kept: list[Any] = [None] * module._cached_conv_counts["decoder"]
    for number in range(latents.shape[2]):
        hidden = module.post_quant_conv(latents[:, :, number : number + 1])
        module.decoder(hidden, feat_cache=kept, feat_idx=[0], first_chunk=number == 0)


def vae_encoder(config: Mapping[str, Any]) -> Subject:
    """The encoder, in 32 bits, of a video that is there in full: so a bridge hands it over."""
    module = built(lambda: AutoencoderKLWan.from_config(config), torch.float32)
    return Subject(
        module,
        lambda size: (_pixels(module.config.in_channels, size),),
        lambda pixels: encode_in_turn(module, pixels),
        WHOLE_VIDEO,
    )


def encode_in_turn(module: Any, pixels: Tensor) -> Tensor:
    """Encode the first frame, then those of one latent frame after another.

    The latents are kept, and of the frames before what the convolutions need.
    """
    kept: list[Any] = [None] * module._cached_conv_counts["encoder"]
    lengths = [1] + [WHOLE_VIDEO.time_factor] * (pixels.shape[2] // WHOLE_VIDEO.time_factor)
    moments = [
        module.quant_conv(module.encoder(chunk, feat_cache=kept, feat_idx=[0]))
        for chunk in torch.split(pixels, lengths, dim=2)
    ]
    return torch.cat([each.chunk(2, dim=1)[0] for each in moments], dim=2)


def text_encoder(config: Mapping[str, Any]) -> Subject:
    """UMT5 over one padded prompt, in bfloat16."""
    module = built(lambda: UMT5EncoderModel(UMT5Config(**config)), torch.bfloat16)
    ids = empty(1, TOKENS, dtype=torch.long)
    return Subject(
        module, lambda size: (ids,), lambda ids: module(ids).last_hidden_state, ONE_PROMPT
    )


def _pixels(channels: int, size: Size) -> Tensor:
    latents, height, width = WHOLE_VIDEO.own(size)
    frames = (latents - 1) * WHOLE_VIDEO.time_factor + 1
    return empty(1, channels, frames, height, width, dtype=torch.float32)


def _latents(channels: int, size: Size, dtype: torch.dtype) -> Tensor:
    frames, height, width = WHOLE_VIDEO.own(size)
    return empty(1, channels, frames, height // LATENT, width // LATENT, dtype=dtype)

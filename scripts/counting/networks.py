"""The networks of the table, each on the meta device: `subject(name)`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

import confiner_cli
from confiner_cli.costs.table import encoder_of
from confiner_cli.experts import families
from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.networks.latent_preview import LatentPreview
from counting import wan
from counting.subject import LATENT, ONE_PROMPT, Subject, built, empty, read

PACKAGE = Path(confiner_cli.__file__).parent
ARCHITECTURES, EMBEDDED = PACKAGE / "experts" / "architectures", PACKAGE / "embedded"
UNETS = {
    "sd15": ("stable_diffusion", ARCHITECTURES / "sd15", ARCHITECTURES / "sd15"),
    "animatediff": ("animatediff", ARCHITECTURES / "sd15", ARCHITECTURES / "sd15"),
    "modelscope": ("modelscope", ARCHITECTURES / "modelscope", ARCHITECTURES / "modelscope"),
    "lavie": ("lavie", ARCHITECTURES / "lavie", ARCHITECTURES / "sd15"),
    "tiny_spatial": ("stable_diffusion", EMBEDDED / "spatial", EMBEDDED / "shared"),
    "tiny_control": ("animatediff", EMBEDDED / "control", EMBEDDED / "shared"),
    "tiny_temporal": ("modelscope", EMBEDDED / "temporal", EMBEDDED / "shared"),
}
"""Family, the folder of its parts, and that of its text encoder."""
WANS = {name: ARCHITECTURES / name for name in ("wan21_1_3b", "wan21_14b")}
"""Folders of parts. Each network of Wan 2.2's pair is `wan21_14b` with other weights."""
VAES = {
    "sd15_vae": ARCHITECTURES / "sd15", "wan21_vae": WANS["wan21_1_3b"],
    "tiny_vae": EMBEDDED / "shared",
}  # fmt: skip
ENCODERS = {encoder_of(name): folder for name, folder in VAES.items()}
PREVIEWS: Mapping[str, Callable[[], Any]] = {
    "taesd": AutoencoderTiny,
    "tiny_preview": LatentPreview,
}
"""Decoders that may stand for VAEs; their configs are their classes' own."""
TEXTS = {
    "sd15_text": ARCHITECTURES / "sd15", "modelscope_text": ARCHITECTURES / "modelscope",
    "wan_text": WANS["wan21_1_3b"], "tiny_text": EMBEDDED / "shared",
}  # fmt: skip
NAMES = (*UNETS, *WANS, *VAES, *ENCODERS, *PREVIEWS, *TEXTS)
LATENT_CHANNELS = 4
"""Numbers of a latent of Stable Diffusion 1.5's."""


def subject(name: str) -> Subject:
    """A network of the table, in the precision that it computes in."""
    if name in UNETS:
        return _unet(*UNETS[name])
    if name in WANS:
        return wan.transformer(read(WANS[name] / "transformer" / "config.json"))
    if name in PREVIEWS:
        return _decoder(built(PREVIEWS[name]), LATENT_CHANNELS)
    if name in VAES:
        config = read(VAES[name] / "vae" / "config.json")
        return _DECODER_KINDS[config["_class_name"]](config)
    if name in ENCODERS:
        config = read(ENCODERS[name] / "vae" / "config.json")
        return _ENCODER_KINDS[config["_class_name"]](config)
    config = read(TEXTS[name] / "text_encoder" / "config.json")
    return _TEXT_KINDS[config["model_type"]](config)


def _unet(family: str, folder: Path, text: Path) -> Subject:
    kind = importlib.import_module(f"{families.__name__}.{family}")
    configs = {path.parent.name: read(path) for path in folder.glob("*/config.json")}
    module = built(lambda: kind.build(configs))
    tokens = read(text / "text_encoder" / "config.json")["max_position_embeddings"]
    channels, width = (configs["unet"][key] for key in ("in_channels", "cross_attention_dim"))
    states = empty(1, tokens, width)
    return Subject(
        module,
        lambda size: (empty(1, channels, size[0], size[1] // LATENT, size[2] // LATENT), states),
        lambda x_t, text: _asked(kind, module, x_t, text),
    )


def _asked(kind: ModuleType, module: nn.Module, x_t: Tensor, text: Tensor) -> Tensor:
    """What a family's network predicts, at some timestep."""
    timestep = torch.full((), 100.0, device=x_t.device)
    prediction: Tensor = kind.predict(module, x_t, timestep, Conditioning(text))
    return prediction


def _vae(config: Mapping[str, Any]) -> Subject:
    return _decoder(built(lambda: AutoencoderKL.from_config(config)), config["latent_channels"])


def _decoder(module: Any, channels: int) -> Subject:
    return Subject(
        module,
        lambda size: (empty(size[0], channels, size[1] // LATENT, size[2] // LATENT),),
        lambda latents: module.decode(latents).sample,
    )


def _vae_encoder(config: Mapping[str, Any]) -> Subject:
    module = built(lambda: AutoencoderKL.from_config(config))
    return Subject(
        module,
        lambda size: (empty(size[0], module.config.in_channels, *size[1:]),),
        lambda pixels: module.encode(pixels).latent_dist.mode(),
    )


def _text(config: Mapping[str, Any]) -> Subject:
    module = built(lambda: CLIPTextModel(CLIPTextConfig(**config)))
    ids = empty(1, config["max_position_embeddings"], dtype=torch.long)
    return Subject(
        module, lambda size: (ids,), lambda ids: module(ids).last_hidden_state, ONE_PROMPT
    )


_DECODER_KINDS = {"AutoencoderKL": _vae, "AutoencoderKLWan": wan.vae}
_ENCODER_KINDS = {"AutoencoderKL": _vae_encoder, "AutoencoderKLWan": wan.vae_encoder}
_TEXT_KINDS = {"clip_text_model": _text, "umt5": wan.text_encoder}

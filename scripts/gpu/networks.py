"""Experts of published sizes without their weights: folders of configs, random numbers as loaded.

`Models` writes a folder for each model of an expert set: the configs that come with the package, a
tokenizer, and files of weights with nothing in them. The product finds and checks them as ever;
only where it would read a network's weights, `random_weights` draws them instead, as `numbers.fill`
does: on the device, in the precision that they are used in, once. So every network's output keeps
to a few units, whatever it is given, as its last norm sees to it. The VAE's last convolution is a
tenth of that, for frames of little contrast, which take the encoder no longer than a video does.
What large text encoders say of prompts is kept for as long as the script runs, and no longer.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from confiner_cli.config.schema import ExpertSetSettings
from confiner_cli.experts.components import COMMON, Components, architecture
from confiner_cli.experts.empty import without_parameters
from confiner_cli.experts.families import lavie
from confiner_cli.experts.offload import QUICK
from confiner_cli.experts.precision import precision_of
from confiner_cli.experts.spec import ExpertSpec, sharing_vaes
from confiner_cli.experts.stated_text import UMT5, kind_of
from gpu.numbers import fill
from training.tokenizer import byte_level
from wan.folder import TINY
from wan.tokenizer import write_tokenizer

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"block_out_channels": (32, 64), "layers_per_block": 1, "cross_attention_dim": 32},
    "motion_adapter": {"block_out_channels": (32, 64), "motion_layers_per_block": 1},
    "text_encoder": {
        "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 1, "num_attention_heads": 1,
    },
    "vae": {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1},
}  # fmt: skip
"""A tenth of the channels and half of the layers or fewer.

Norms of 32 groups and heads of 32 channels still fit.
"""
TAESD = {"_class_name": "AutoencoderTiny"}
"""The preview decoder of Stable Diffusion 1.5's latents: the class's own defaults."""
WEIGHTS = "diffusion_pytorch_model.safetensors"
WAN = ("WanTransformer3DModel", "AutoencoderKLWan", "UMT5EncoderModel")
"""What the configs of Wan's networks call their classes."""
PAIR = {"transformer_2": "transformer"}
"""Networks that are other ones again."""
DECODED: Counter[torch.dtype] = Counter()
"""Numbers of the frames that VAEs have decoded in this process, three a pixel, by the precision
that they were decoded in. Where tiles overlap they are decoded several times."""


@dataclass(frozen=True)
class Models:
    """Folders of models without weights, all in one folder.

    Attributes:
        root: where they are.
        small: whether networks are small ones.
    """

    root: Path
    small: bool = False

    def of(self, experts: ExpertSetSettings) -> ExpertSetSettings:
        """The expert set with these models in place of its own; models that were one are one."""
        own: dict[str, Any] = {
            role: self._expert(expert) for role, expert in sharing_vaes(experts.by_role()).items()
        }
        return replace(experts, **own)

    def _expert(self, expert: ExpertSpec) -> ExpertSpec:
        published, model = expert.architecture or COMMON, self._folder(expert.model)
        shared = self._folder(expert.shared) if expert.shared else model
        text = self._folder(expert.text_encoder) if expert.text_encoder else shared
        if expert.family == "lavie":
            self._part(model, published, "unet", f"{lavie.CHECKPOINT}.safetensors")
        else:
            self._part(model / expert.network, published, expert.network)
        self._text(text, published)
        if expert.vae:
            self._part(shared / "vae", published, "vae")
        places: dict[str, Any] = {
            "model": model,
            "shared": expert.shared and shared,
            "text_encoder": expert.text_encoder and text,
            "motion_adapter": expert.motion_adapter and self._motion_adapter(expert, published),
            "preview": expert.preview and self._preview(),
        }
        places = {name: place and str(place) for name, place in places.items()}
        return replace(expert, **places)

    def _text(self, folder: Path, published: str) -> None:
        """A text encoder, and a tokenizer that knows letters."""
        config = self._part(folder / "text_encoder", published, "text_encoder", "model.safetensors")
        if (folder / "tokenizer").is_dir():
            return
        if kind_of(config) == UMT5:
            write_tokenizer(folder / "tokenizer")
        else:
            byte_level(77).save_pretrained(folder / "tokenizer")

    def _motion_adapter(self, expert: ExpertSpec, published: str) -> Path:
        folder = self._folder(expert.motion_adapter or "")
        self._part(folder, published, "motion_adapter")
        return folder

    def _preview(self) -> Path:
        folder = self._folder("preview")
        _part_of(folder, TAESD, WEIGHTS)
        return folder

    def _folder(self, model: str) -> Path:
        return self.root / re.sub(r"\W+", "-", model)

    def _part(
        self, folder: Path, published: str, name: str, weights: str = WEIGHTS
    ) -> dict[str, Any]:
        """Write a published part, once, small where all are; its config."""
        place = architecture(published, PAIR.get(name, name))
        config: dict[str, Any] = json.loads((place / "config.json").read_text(encoding="utf-8"))
        config |= _smaller(name, config) if self.small else {}
        large = name == "text_encoder" and kind_of(config) == UMT5 and not self.small
        _part_of(folder, config, weights, QUICK if large else 1)
        return config


def _part_of(folder: Path, config: Mapping[str, Any], weights: str, size: int = 1) -> None:
    """A part's config, and a file of weights that is no other's: so many bytes of nothing."""
    path = folder / weights
    if path.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    header = {
        "__metadata__": {"of": str(folder)},
        "nothing": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(file.tell() + size)  # which takes no room on the disk


def _smaller(name: str, published: dict[str, Any]) -> Mapping[str, Any]:
    if published.get("_class_name", *published.get("architectures", ())) in WAN:
        return TINY[PAIR.get(name, name)]
    if name != "unet":
        return SMALL[name]
    ends = {
        key: (published[key][0], published[key][-1])
        for key in ("down_block_types", "up_block_types")
    }
    return {**SMALL[name], **ends, "attention_head_dim": published["attention_head_dim"] // 8}


@contextmanager
def random_weights() -> Iterator[None]:
    """Inside, the product draws what it would read from files."""
    with (
        tempfile.TemporaryDirectory() as cache,
        patch.dict(os.environ, XDG_CACHE_HOME=cache),
        patch.object(Components, "model", _model),
        patch.object(lavie, "load", _lavie),
    ):
        yield


def _model(
    components: Components, name: str, kind: Any, allowed: Collection[str] = ()
) -> nn.Module:
    config = components.config(name)
    if kind is CLIPTextModel:
        return filled(
            lambda: CLIPTextModel(CLIPTextConfig(**config)), components.device, components.dtype
        )
    module = filled(lambda: kind.from_config(config), components.device, components.dtype)
    if isinstance(module, (AutoencoderKL, AutoencoderKLWan)):
        module.decoder.conv_out.weight.mul_(0.1)
        module.decoder.register_forward_hook(_count)
    return module


def _lavie(components: Components) -> nn.Module:
    path = components.checkpoint(lavie.CHECKPOINT).with_name("config.json")
    config = json.loads(path.read_text(encoding="utf-8"))
    return filled(partial(lavie.build, {"unet": config}), components.device, components.dtype)


def _count(decoder: nn.Module, given: Any, pixels: Tensor) -> None:
    DECODED[pixels.dtype] += pixels.numel()


def filled(build: Callable[[], Any], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """What `build` makes, on the device: random parameters, in the precisions that it has them in.

    What it computes of its config is what it is.
    """
    with without_parameters():
        module: nn.Module = build()
    precision, random = precision_of(module, device, dtype), torch.Generator(device).manual_seed(0)
    saved = module.state_dict().keys()
    for prefix, owner in module.named_modules():
        begin = f"{prefix}." if prefix else ""
        for name, parameter in list(owner.named_parameters(recurse=False)):
            kept = torch.float32 if precision.is_kept(begin + name) else dtype
            values = torch.empty(parameter.shape, device=device, dtype=kept)
            setattr(owner, name, nn.Parameter(fill(name, values, random), requires_grad=False))
        for name, table in list(owner.named_buffers(recurse=False)):
            full = begin + name
            moved = precision.turned(full, table) if full in saved else table.to(device)
            setattr(owner, name, moved)
    return module.eval()

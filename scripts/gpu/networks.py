"""Experts of published sizes without their weights: folders of configs, random numbers as loaded.

`Models` writes a folder for each model of an expert set: the configs that come with the package, a
tokenizer, and files of weights with nothing in them. The product finds and checks them as ever;
only where it would read a network's weights, `random_weights` draws them instead: on the device, in
the precision that they are used in, once. Matrices and kernels are normal with variance 1 / fan-in,
norms 1, biases 0: so every network's output keeps to a few units, whatever it is given, as its last
norm sees to it. The VAE's last convolution is a tenth of that, for frames of little contrast, which
take the encoder no longer than a video does.
"""

from __future__ import annotations

import json
import re
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
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from confiner_cli.config.schema import ROLES, ExpertSetSettings
from confiner_cli.experts.components import COMMON, Components, architecture
from confiner_cli.experts.families import lavie
from confiner_cli.experts.spec import ExpertSpec
from training.tokenizer import byte_level

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
DECODED: Counter[torch.dtype] = Counter()
"""Frames that VAEs have decoded in this process, by the precision that they were decoded in."""


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
        own: dict[str, Any] = {role: self._expert(role, experts.role(role)) for role in ROLES}
        return replace(experts, **own)

    def _expert(self, role: str, expert: ExpertSpec) -> ExpertSpec:
        published, model = expert.architecture or COMMON, self._folder(expert.model)
        if expert.family == "lavie":
            self._part(model, published, "unet", f"{lavie.CHECKPOINT}.safetensors")
        else:
            self._part(model / "unet", published, "unet")
        text = self._folder(expert.shared) if expert.shared else model
        self._part(text / "text_encoder", published, "text_encoder", "model.safetensors")
        if not (text / "tokenizer").is_dir():
            byte_level(77).save_pretrained(text / "tokenizer")
        places: dict[str, Any] = {
            "model": str(model),
            "shared": str(text) if expert.shared else None,
        }
        if role == "spatial":
            self._part(text / "vae", published, "vae")
            preview = self._folder("preview")
            _part_of(preview, TAESD, WEIGHTS)
            places["preview"] = str(preview)
        if expert.motion_adapter:
            adapter = self._folder(expert.motion_adapter)
            self._part(adapter, published, "motion_adapter")
            places["motion_adapter"] = str(adapter)
        return replace(expert, **places)

    def _folder(self, model: str) -> Path:
        return self.root / re.sub(r"\W+", "-", model)

    def _part(self, folder: Path, published: str, name: str, weights: str = WEIGHTS) -> None:
        """A published part, once, small where all are."""
        path = architecture(published, name) / "config.json"
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        config |= _smaller(name, config) if self.small else {}
        _part_of(folder, config, weights)


def _part_of(folder: Path, config: Mapping[str, Any], weights: str) -> None:
    """A part's config, and a file of weights that is no other's."""
    if (folder / weights).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({"nothing": torch.zeros(1)}, folder / weights, metadata={"of": str(folder)})


def _smaller(name: str, published: dict[str, Any]) -> dict[str, Any]:
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
    with patch.object(Components, "model", _model), patch.object(lavie, "load", _lavie):
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
    if isinstance(module, AutoencoderKL):
        module.decoder.conv_out.weight.mul_(0.1)
        module.decoder.register_forward_hook(_count)
    return module


def _lavie(components: Components) -> nn.Module:
    path = components.checkpoint(lavie.CHECKPOINT).with_name("config.json")
    config = json.loads(path.read_text(encoding="utf-8"))
    return filled(partial(lavie.build, {"unet": config}), components.device, components.dtype)


def _count(decoder: nn.Module, given: Any, pixels: Tensor) -> None:
    DECODED[pixels.dtype] += len(pixels)


def filled(build: Callable[[], Any], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """What `build` makes, with random numbers on the device for all that it holds."""
    with torch.device("meta"):  # shapes without memory
        module: nn.Module = build()
    random = torch.Generator(device).manual_seed(0)
    for owner in module.modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            values = torch.empty(parameter.shape, device=device, dtype=dtype)
            setattr(owner, name, nn.Parameter(fill(name, values, random), requires_grad=False))
        for name, table in list(owner.named_buffers(recurse=False)):
            setattr(owner, name, _table(torch.empty_like(table, device=device), random))
    return module.to(dtype).eval()


def fill(name: str, values: Tensor, random: torch.Generator) -> Tensor:
    """A layer's `weight`, `bias` or table, filled in place."""
    if values.ndim < 2:
        return values.fill_(1 if name == "weight" else 0)
    return values.normal_(std=values[0].numel() ** -0.5, generator=random)


def _table(values: Tensor, random: torch.Generator) -> Tensor:
    """Frame positions are numbers like others; a text's are indices."""
    if values.is_floating_point():
        return values.normal_(generator=random)
    return torch.arange(values.shape[-1], device=values.device).expand(values.shape).contiguous()

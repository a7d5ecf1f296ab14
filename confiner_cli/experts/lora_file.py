"""A LoRA as a file or a folder: its factors by network and layer, and what it says of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.lora_names import ALPHA, TEXT, UNET, read_name
from confiner_cli.weights.select import read_header, read_metadata
from confiner_cli.weights.tensors import SUFFIX, read_tensors

CONFIG = "adapter_config.json"
WEIGHTS = (
    "adapter_model.safetensors",
    "pytorch_lora_weights.safetensors",
    "adapter_model.bin",
    "pytorch_lora_weights.bin",
)
"""What peft and diffusers call an adapter in a folder."""
METADATA = "lora_adapter_metadata"
"""Where diffusers keeps peft's config inside a file."""
KINDS = ("LORA", "LOHA", "LOKR")
HONOURED = frozenset({"lora_alpha", "alpha", "alpha_pattern", "use_rslora", "use_dora"})
HARMLESS = frozenset({
    # Of training, or said again by the tensors themselves.
    "arrow_config", "auto_mapping", "base_model_name_or_path", "corda_config", "decompose_both",
    "decompose_factor", "ensure_weight_tying", "eva_config", "exclude_modules", "inference_mode",
    "init_lora_weights", "init_weights", "layers_pattern", "layers_to_transform", "loftq_config",
    "lora_bias", "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core",
    "module_dropout", "monteclora_config", "peft_type", "peft_version", "qalora_group_size", "r",
    "rank_dropout", "rank_dropout_scale", "rank_pattern", "revision", "runtime_config",
    "target_modules", "task_type", "use_effective_conv2d", "velora_config",
})  # fmt: skip
"""Fields of peft's configs that change nothing of what is merged."""


@dataclass(frozen=True)
class Stated:
    """What peft's config says of the factors of one network; an empty one where there is none.

    Attributes:
        alpha, rank: of layers that no pattern names; an alpha of None is their rank.
        alphas, ranks: by pattern of layers' names.
        by_root: whether alpha is divided by the rank's square root (arXiv 2312.03732).
    """

    alpha: float | None = None
    rank: float | None = None
    alphas: Mapping[str, float] = field(default_factory=dict)
    ranks: Mapping[str, float] = field(default_factory=dict)
    by_root: bool = False

    def strength(self, layer: str, rank: int) -> float:
        """What the product of a layer's factors is multiplied by.

        Args:
            layer: its name in the network.
            rank: of its factors; 0 where they do not tell it.
        """
        alpha = _named(self.alphas, layer, self.alpha)
        known = rank or _named(self.ranks, layer, self.rank)
        if alpha is None or known is None:
            return 1.0
        return alpha / (known**0.5 if self.by_root else known)


def _named(patterns: Mapping[str, float], layer: str, default: float | None) -> float | None:
    """What the first of peft's patterns that names a layer says of it."""
    for pattern, value in patterns.items():
        if re.fullmatch(rf"(.*\.)?({pattern})", layer):
            return value
    return default


@dataclass(frozen=True)
class LoraFile:
    """What a LoRA has for one network.

    Attributes:
        layers: its parts (`down`, `up`, ...) by the layer's key and the name that the file has.
        stated: what it says besides.
    """

    layers: Mapping[tuple[str, str], Mapping[str, Tensor]]
    stated: Stated


def read_lora(path: Path, network: str) -> LoraFile:
    """What a file or a folder has for a network; nothing of other networks is kept.

    Args:
        path: in any of the spellings of `lora_names`.
        network: `unet` or `text_encoder`.

    Raises:
        ConfinerError: a file is damaged, or holds more than tensors.
        ValueError: it is no LoRA, or says something that is not honoured.
    """
    return _read(path, network, read_tensors)


def outline(path: Path, network: str) -> LoraFile:
    """As `read_lora`, of the names and shapes alone: factors are on the meta device, numbers are 1.

    A pickle is read whole: it has no header.
    """
    return _read(path, network, _shapes)


def _read(path: Path, network: str, tensors_of: Callable[[Path], Mapping[str, Tensor]]) -> LoraFile:
    layers: dict[tuple[str, str], dict[str, Tensor]] = {}
    stated = Stated()
    for file, inside in _files(path):
        if inside not in (None, network):
            continue  # another network's, with a config of its own
        tensors = tensors_of(file)
        if not tensors:
            raise ValueError("it is empty")
        for name, tensor in tensors.items():
            read = read_name(name)
            if (inside or read.network) == network:
                layers.setdefault((read.key, read.layer), {})[read.part] = tensor
        stated = _stated(file, inside or network) or stated
    complete = {layer: parts for layer, parts in layers.items() if parts.keys() - {ALPHA}}
    return LoraFile(complete, stated)


def files_of_lora(path: Path) -> tuple[Path, ...]:
    """The files that are read of it, its config among them."""
    files: list[Path] = []
    for file, _ in _files(path):
        config = _config_beside(file)
        files += [file, config] if config else [file]
    return tuple(files)


def _files(path: Path) -> list[tuple[Path, str | None]]:
    """The weight files, each with the network that its folder is of, where a folder says so."""
    if not path.is_dir():
        return [(path, None)]
    inside: list[tuple[Path, str | None]] = [
        (file, network)
        for network in (UNET, TEXT)
        if (path / network).is_dir() and (file := _weights_in(path / network))
    ]
    file = _weights_in(path)
    if file:
        return [(file, None)]
    if not inside:
        raise ConfinerError(
            f"the LoRA {path} is a folder without {WEIGHTS[0]} or {WEIGHTS[1]}, and without one "
            ".safetensors file alone",
            "name the file of the LoRA",
        )
    return inside


def _weights_in(folder: Path) -> Path | None:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    alone = sorted(folder.glob(f"*{SUFFIX}"))
    return alone[0] if len(alone) == 1 else None


def _shapes(path: Path) -> dict[str, Tensor]:
    if path.suffix != SUFFIX:
        return read_tensors(path)
    return {name: _shape(info.shape) for name, info in read_header(path).items()}


def _shape(shape: tuple[int, ...]) -> Tensor:
    return torch.ones(shape, device="cpu" if math.prod(shape) == 1 else "meta")


def _config_beside(file: Path) -> Path | None:
    config = file.with_name(CONFIG)
    return config if file.name.startswith("adapter_model.") and config.is_file() else None


def _stated(file: Path, network: str) -> Stated | None:
    """What peft's config says, beside a file or in it."""
    config = _config_beside(file)
    if config:
        return _honoured(json.loads(config.read_text(encoding="utf-8")))
    inside = read_metadata(file).get(METADATA) if file.suffix == SUFFIX else None
    if inside is None:
        return None
    config, begin = json.loads(inside), f"{network}."
    if not any(key.startswith((f"{UNET}.", f"{TEXT}.")) for key in config):
        return _honoured(config)  # one network's own
    own = {key.removeprefix(begin): config[key] for key in config if key.startswith(begin)}
    return _honoured(own) if own else None


def _honoured(config: Mapping[str, Any]) -> Stated:
    kind = config.get("peft_type", "LORA")
    if kind not in KINDS:
        raise ValueError(f"it is a {kind} adapter, which is not merged")
    strange = sorted(_not_honoured(config))
    if strange:
        raise ValueError(f"its config says {strange[0]}, which is not honoured")
    return Stated(
        alpha=config.get("lora_alpha", config.get("alpha")),
        rank=config.get("r"),
        alphas=config.get("alpha_pattern") or {},
        ranks=config.get("rank_pattern") or {},
        by_root=bool(config.get("use_rslora")),
    )


def _not_honoured(config: Mapping[str, Any]) -> Iterator[str]:
    for key, value in config.items():
        if value and value != "none" and key not in HONOURED | HARMLESS:
            yield f"{key}={value}"

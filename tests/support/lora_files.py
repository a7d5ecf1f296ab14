"""Adapters with random factors, written as each trainer or tool spells them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

Factors = dict[str, tuple[Tensor, Tensor]]
"""By layer, what is multiplied: down `(rank, input, *kernel)` and up `(output, rank, 1...)`."""


def factors_for(network: nn.Module, layers: list[str], ranks=(2,), seed=0) -> Factors:
    """Random factors for some layers, their ranks in turn."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for number, layer in enumerate(layers):
        shape, rank = network.get_submodule(layer).weight.shape, ranks[number % len(ranks)]
        down = torch.randn(rank, *shape[1:], generator=generator)
        up = torch.randn(shape[0], rank, *(1 for _ in shape[2:]), generator=generator)
        made[layer] = 0.1 * down, 0.1 * up
    return made


def product(down: Tensor, up: Tensor) -> Tensor:
    """What is added to a weight, in its shape."""
    return (up.flatten(1) @ down.flatten(1)).reshape(len(up), *down.shape[1:])


def peft(factors: Factors, prefix="unet.", adapter="") -> dict[str, Tensor]:
    return _named(factors, prefix, f".lora_A{adapter}.weight", f".lora_B{adapter}.weight")


def diffusers(factors: Factors, prefix="unet.") -> dict[str, Tensor]:
    return _named(factors, prefix, ".lora.down.weight", ".lora.up.weight")


def processors(factors: Factors, prefix="unet.") -> dict[str, Tensor]:
    """As diffusers was before peft: attention's processors, whose layers had names of their own."""
    named = {}
    for layer, (down, up) in factors.items():
        attention, _, inner = layer.removesuffix(".0").rpartition(".")
        named[f"{prefix}{attention}.processor.{inner}_lora.down.weight"] = down
        named[f"{prefix}{attention}.processor.{inner}_lora.up.weight"] = up
    return named


def kohya(factors: Factors, prefix="lora_unet_", alpha=None) -> dict[str, Tensor]:
    flat = {layer.replace(".", "_"): pair for layer, pair in factors.items()}
    tensors = _named(flat, prefix, ".lora_down.weight", ".lora_up.weight")
    if alpha is not None:
        tensors |= {f"{prefix}{layer}.alpha": torch.tensor(alpha) for layer in flat}
    return tensors


def _named(factors: Factors, prefix: str, down_end: str, up_end: str) -> dict[str, Tensor]:
    downs = {f"{prefix}{layer}{down_end}": down for layer, (down, _) in factors.items()}
    return downs | {f"{prefix}{layer}{up_end}": up for layer, (_, up) in factors.items()}


def write(path: Path, tensors: dict[str, Tensor], **config) -> Path:
    """A file, with a config of peft's inside as diffusers writes it, where there is one."""
    inside = {"lora_adapter_metadata": json.dumps(config)} if config else {}
    contents = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contents, path, metadata={"format": "pt", **inside})
    return path


def write_folder(folder: Path, tensors: dict[str, Tensor], **config) -> Path:
    """A folder as peft saves it."""
    folder.mkdir(parents=True)
    write(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder

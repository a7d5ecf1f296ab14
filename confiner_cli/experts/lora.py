"""LoRA adapters (arXiv 2106.09685): read, fused into a network's weights and left by diffusers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import fuse_text_encoder_lora
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
from diffusers.loaders.peft import PeftAdapterMixin
from torch import Tensor, nn

from confiner_cli.errors import ConfinerError, first_line, is_ram_full, no_ram_for
from confiner_cli.weights.tensors import read_tensors

NAME = "lora"
UNET, TEXT = "unet", "text_encoder"
"""What the names of an adapter's tensors begin with in diffusers' format."""
_LAYER = re.compile(r"(\.processor)?[._]lora.*$")
Loras = tuple[tuple[Path, float], ...]
"""Adapters, each with its scale."""


def adapt_unet(unet: Any, loras: Loras) -> nn.Module:
    """Fuse what the adapters have for the UNet into it, each by its scale.

    Args:
        unet: one of diffusers' networks, or another with its PeftAdapterMixin.
        loras: files and scales.

    Raises:
        ConfinerError: an adapter cannot be read, or was made for another network.
    """
    for path, scale in loras:
        with _readable(path):
            tensors, alphas = _read(path)
            _check_layers(unet, _names(tensors, UNET))
            unet.load_lora_adapter(tensors, prefix=UNET, network_alphas=alphas, adapter_name=NAME)
            unet.fuse_lora(lora_scale=scale, safe_fusing=True, adapter_names=[NAME])
            unet.unload_lora()
    return _frozen(unet)


def adapt_text(encoder: Any, loras: Loras) -> nn.Module:
    """Fuse what the adapters have for the text encoder into it; most have nothing.

    Raises:
        ConfinerError: an adapter cannot be read, or was made for another network.
    """
    for path, scale in loras:
        with _readable(path):
            tensors, alphas = _read(path)
            if not _names(tensors, TEXT):
                continue
            # transformers' networks have a loader of their own, for which diffusers has functions.
            StableDiffusionLoraLoaderMixin.load_lora_into_text_encoder(
                tensors, alphas, encoder, prefix=TEXT, adapter_name=NAME
            )
            fuse_text_encoder_lora(encoder, scale, safe_fusing=True, adapter_names=[NAME])
            PeftAdapterMixin.unload_lora(encoder)
    return _frozen(encoder)


def _read(path: Path) -> tuple[dict[str, Tensor], Any]:
    # In diffusers' own names, whichever trainer wrote the file.
    tensors, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(read_tensors(path))
    return tensors, alphas


def _names(tensors: dict[str, Tensor], prefix: str) -> list[str]:
    """The names of an adapter's tensors for one network, as it has them."""
    begin = f"{prefix}."
    return [name.removeprefix(begin) for name in tensors if name.startswith(begin)]


def _check_layers(unet: nn.Module, names: list[str]) -> None:
    """Hold an adapter's layers against those that there are: diffusers leaves out the others."""
    if not names:
        raise ValueError("it has nothing for a UNet")
    known = {name for name, _ in unet.named_modules()}
    for name in names:
        layer = _LAYER.sub("", name)
        if layer not in known:
            raise ValueError(f"this network has no layer {layer}")


def _frozen(network: nn.Module) -> nn.Module:
    return network.eval().requires_grad_(False)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (ConfinerError, torch.OutOfMemoryError):
        raise
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        if is_ram_full(error):
            raise no_ram_for(f"the LoRA {path}") from error
        raise ConfinerError(
            f"the LoRA {path} does not fit: {first_line(error)}",
            "use one that was trained on this expert's base model, or give it to another role",
        ) from error

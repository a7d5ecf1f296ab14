"""LoRA adapters (arXiv 2106.09685): read by diffusers, merged into a network's weights by peft."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin
from diffusers.utils.peft_utils import recurse_remove_peft_layers
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from confiner_cli.errors import ConfinerError, first_line
from confiner_cli.weights.tensors import read_tensors

NAME = "lora"
_LAYER = re.compile(r"(\.processor)?[._]lora.*$")
Loras = tuple[tuple[Path, float], ...]


def adapt_unet(unet: Any, loras: Loras) -> nn.Module:
    """Merge what the adapters have for the UNet into it, each by its scale.

    Raises:
        ConfinerError: an adapter cannot be read, or was made for another network.
    """
    for path, scale in loras:
        with _readable(path):
            tensors, alphas = _read(path)
            _check_layers(
                unet, [key.removeprefix("unet.") for key in tensors if key.startswith("unet.")]
            )
            StableDiffusionLoraLoaderMixin.load_lora_into_unet(
                tensors, alphas, unet, adapter_name=NAME
            )
            _merge(unet, scale)
    return unet.eval().requires_grad_(False)  # type: ignore[no-any-return]


def adapt_text(encoder: Any, loras: Loras) -> nn.Module:
    """Merge what the adapters have for the text encoder into it; most have nothing. Raises as `adapt_unet`."""
    for path, scale in loras:
        with _readable(path):
            tensors, alphas = _read(path)
            if any(key.startswith("text_encoder.") for key in tensors):
                StableDiffusionLoraLoaderMixin.load_lora_into_text_encoder(
                    tensors, alphas, encoder, prefix="text_encoder", adapter_name=NAME
                )
                _merge(encoder, scale)
    return encoder.eval().requires_grad_(False)  # type: ignore[no-any-return]


def _read(path: Path) -> tuple[dict[str, Tensor], Any]:
    # In diffusers' own names, whichever trainer wrote the file.
    tensors, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(read_tensors(path))
    return tensors, alphas


def _check_layers(unet: nn.Module, keys: list[str]) -> None:
    """Hold an adapter's layers against those that there are: diffusers leaves out what it cannot place."""
    if not keys:
        raise ValueError("it has nothing for a UNet")
    known = {name for name, _ in unet.named_modules()}
    strange = [layer for layer in (_LAYER.sub("", key) for key in keys) if layer not in known]
    if strange:
        raise ValueError(f"this network has no layer {strange[0]}")


def _merge(module: Any, scale: float) -> None:
    """Add the adapter to the weights it is for and leave a network without adapters."""
    layers: list[Any] = [layer for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
    if not layers:
        raise ValueError("none of its layers is in this network")
    for layer in layers:
        layer.set_scale(NAME, scale)
        layer.merge(safe_merge=True, adapter_names=[NAME])
    recurse_remove_peft_layers(module)
    del module.peft_config
    module._hf_peft_config_loaded = False


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (ConfinerError, torch.OutOfMemoryError):
        raise
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise ConfinerError(
            f"the LoRA {path} does not fit: {first_line(error)}",
            "use one that was trained on this expert's base model, or give it to another role",
        ) from error

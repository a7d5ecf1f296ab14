"""LoRAs and their relatives: held against a network by their headers, merged into it by peft."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import set_peft_model_state_dict
from torch import Tensor, nn

from confiner_cli.errors import ConfinerError, first_line, is_ram_full, no_ram_for
from confiner_cli.experts.lora_factors import Adapter, Factors, adapters
from confiner_cli.experts.lora_file import LoraFile, Stated, outline, read_lora
from confiner_cli.experts.lora_names import ALPHA, keys_of_layers

Loras = Sequence[tuple[Path, float]]
"""Adapters, files or folders, each with its scale."""
NAME, INSIDE = "lora", "model."
"""What an adapter is called while it is merged, and where peft has the network that it wraps."""
LORA_HINT = "use one that was trained on this expert's base model, or give it to another role"
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers that can be merged into."""


def count_layers(skeleton: nn.Module, network: str, lora: Path) -> int:
    """Hold an adapter's names and shapes against a network, by the header of its file.

    Args:
        skeleton: the network, which may be on the meta device.
        network: `unet` or `text_encoder`.
        lora: a file or a folder.

    Returns:
        How many layers of the network it changes; 0 where it has nothing for it.

    Raises:
        ConfinerError: it cannot be read, says what is not honoured, or was made for another
            network.
    """
    with _readable(lora):
        found = adapters(_placed(outline(lora, network), skeleton, network, scale=1.0))
        return sum(len(adapter.layers) for adapter in found)


def merge_loras(module: nn.Module, network: str, loras: Loras) -> nn.Module:
    """Merge what adapters have for a network into its weights, by peft.

    `W + scale * alpha / rank * up @ down`, in float32, and its relatives.

    Args:
        module: the network, whose weights are changed in place.
        network: `unet` or `text_encoder`.
        loras: in this order.

    Raises:
        ConfinerError: see `count_layers`; or peft has not placed all of it.
    """
    for path, scale in loras:
        with _readable(path):
            placed = _placed(read_lora(path, network), module, network, scale)
            for adapter in adapters(placed):
                _merge(module, adapter)
    return module.eval().requires_grad_(False)


def _placed(file: LoraFile, module: nn.Module, network: str, scale: float) -> Iterator[Factors]:
    """A file's factors by the layers of a network."""
    shapes = {
        name: tuple(layer.weight.shape)
        for name, layer in module.named_modules()
        if isinstance(layer, KINDS)
    }
    keys = keys_of_layers(network, shapes, _blocks(module))
    for (key, name), parts in file.layers.items():
        if key not in keys:
            raise ValueError(f"this network has no layer {name}")
        layer = keys[key]
        strength = partial(_strength, file.stated, parts, layer, scale)
        yield Factors(layer, shapes[layer], parts, strength)


def _blocks(module: nn.Module) -> int:
    """A UNet's `layers_per_block`, where it is one number."""
    blocks = getattr(getattr(module, "config", None), "layers_per_block", 0)
    return blocks if isinstance(blocks, int) else 0


def _strength(
    stated: Stated, parts: Mapping[str, Tensor], layer: str, scale: float, rank: int
) -> float:
    """Scale times alpha over rank: a layer's own alpha, else what the file says of it."""
    if ALPHA in parts:  # LyCORIS writes one, and does not read it, where there is no rank
        return scale * float(parts[ALPHA]) / rank if rank else scale
    return scale * stated.strength(layer, rank)


def _merge(module: nn.Module, adapter: Adapter) -> None:
    tuner = adapter.tuner(module, adapter.config, NAME)
    tensors = {f"{INSIDE}{name}": tensor for name, tensor in adapter.tensors.items()}
    _, unexpected = set_peft_model_state_dict(tuner, tensors, NAME)
    if unexpected:
        raise ValueError(f"peft has no place for {unexpected[0]}")
    changed = {
        name.removeprefix(INSIDE)
        for name, layer in tuner.named_modules()
        if isinstance(layer, BaseTunerLayer)
    }
    if different := sorted(changed.symmetric_difference(adapter.layers)):
        raise ValueError(f"peft has not changed these layers alone: {different[0]}")
    tuner.merge_and_unload(safe_merge=True)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (ConfinerError, torch.OutOfMemoryError):
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        if is_ram_full(error):
            raise no_ram_for(f"the LoRA {path}") from error
        raise ConfinerError(
            f"the LoRA {path} does not fit: {first_line(error)}", LORA_HINT
        ) from error

"""Networks with the weights that diffusers and transformers save: in a folder, or in one file."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from confiner_cli.experts.empty import without_parameters
from confiner_cli.weights.select import weight_files
from confiner_cli.weights.single_file import PREFIXES, names_in
from confiner_cli.weights.tensors import fill, misfits, read_part, read_tensors

NO_WEIGHTS = "it has no safetensors weights, or not all of their files"
OBSOLETE = "position_ids"
"""What published text encoders have and today's do not."""
TEXT_MODEL = "text_model."
"""Where all of a text encoder once was."""
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""What a VAE's attention was called before diffusers had one class of it."""
_OLD = re.compile(rf"\.({'|'.join(OLD_ATTENTION)})(?=\.(weight|bias)$)")


def from_folder(
    folder: Path, kind: Any, device: torch.device, dtype: torch.dtype, pickles: bool
) -> Any:
    """The network of a component's folder, on its device.

    Args:
        folder: with config.json and weights, as diffusers and transformers save them.
        kind: the class, diffusers' or ours, which has `from_config`.
        device: where it goes.
        dtype: what it computes in.
        pickles: whether its weights may be pickles where there is nothing else.

    Raises:
        ValueError: the weights are not all there, or not this network's; and what the library
            raises.
        ConfinerError: a file cannot be read.
    """
    files = weight_files(folder, pickles)
    if not files:
        raise ValueError(NO_WEIGHTS)
    module = _empty(kind, _stated(folder))
    found: dict[str, Tensor] = {}
    for file in files:
        found |= read_tensors(file)
    tensors = _with_tied(kind, _by_todays_names(found, module.state_dict().keys()))
    if wrong := misfits(module, tensors):
        raise ValueError(f"it {wrong}")
    return _placed(fill(module, tensors, folder, kind.__name__), device, dtype)


def from_single_file(
    path: Path, name: str, kind: Any, device: torch.device, dtype: torch.dtype, config: Path
) -> Any:
    """The network `name` out of a file in the original layout, or of a UNet alone in a file.

    Args:
        path: the file, which may hold other networks, too.
        name: `unet`, `vae` or `text_encoder`.
        kind: its class, diffusers' or ours.
        device: where it goes.
        dtype: what it computes in.
        config: the folder of its config.json.

    Raises:
        ConfinerError: tensors are missing, unknown, or of other shapes.
        ValueError: and all else that the libraries raise.
    """
    part = read_part(path, *_names(path, name))
    stated = _stated(config)
    module = _empty(kind, stated)
    tensors = part if part.keys() <= module.state_dict().keys() else _converted(name, part, stated)
    _check_all_used(part, tensors)
    what = f"{kind.__name__} as {config / 'config.json'} states it"
    return _placed(fill(module, tensors, path, what), device, dtype)


def _stated(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def _empty(kind: Any, config: dict[str, Any]) -> Any:
    """A network without its parameters; what is computed of the config is there."""
    with without_parameters():
        return kind.from_config(config)


def _placed(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    # torch's own `to`: diffusers' warns of every change of precision.
    return nn.Module.to(module, device, dtype)


def _by_todays_names(tensors: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """The tensors of a folder by the names that the network has now."""
    return {
        name if name in wanted else _todays(name): tensor
        for name, tensor in tensors.items()
        if name in wanted or not name.endswith(OBSOLETE)
    }


def _with_tied(kind: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, and those that a file may leave out since they are others by a second name."""
    ties = getattr(kind, "TIED", {}).items()
    return {name: tensors[source] for name, source in ties if source in tensors} | dict(tensors)


def _todays(name: str) -> str:
    return _OLD.sub(lambda old: f".{OLD_ATTENTION[old[1]]}", name.removeprefix(TEXT_MODEL))


def _names(path: Path, name: str) -> tuple[str, str]:
    """What the names of a network's tensors begin with in a file, and what they should."""
    names = names_in(path)
    inside = any(key.startswith(PREFIXES[name]) for key in names)
    return PREFIXES[name] if inside else "", PREFIXES[name]


def _converted(name: str, part: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of the original layout by the names that the network has."""
    # It takes a second to import, and most experts are in folders.
    from diffusers.loaders.single_file_utils import (
        convert_ldm_clip_checkpoint,
        convert_ldm_unet_checkpoint,
        convert_ldm_vae_checkpoint,
    )

    if name == "text_encoder":
        return _by_todays_names(convert_ldm_clip_checkpoint(part), ())
    convert = convert_ldm_unet_checkpoint if name == "unet" else convert_ldm_vae_checkpoint
    return dict(convert(dict(part), config=config))


def _check_all_used(part: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Refuse tensors that the conversion has dropped: it says nothing of them."""
    used = {tensor.untyped_storage().data_ptr() for tensor in tensors.values()}
    dropped = [
        key
        for key, tensor in part.items()
        if tensor.untyped_storage().data_ptr() not in used and not key.endswith(OBSOLETE)
    ]
    if dropped:
        raise ValueError(f"the file has {len(dropped)} unknown tensors, {dropped[0]} for one")

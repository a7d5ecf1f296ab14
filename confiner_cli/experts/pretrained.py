"""Networks as diffusers and transformers read them: from a folder of theirs, or out of one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor

from confiner_cli.weights.select import choice
from confiner_cli.weights.single_file import PREFIXES, names_in
from confiner_cli.weights.tensors import fill, read_part

NO_WEIGHTS = "it has no safetensors weights, or not all of their files"
OBSOLETE = "position_ids"
"""What published text encoders have and today's do not."""


def from_folder(
    folder: Path, kind: Any, device: torch.device, dtype: torch.dtype, pickles: bool
) -> Any:
    """The network of a component's folder, straight to its device.

    Args:
        folder: with config.json and weights, as diffusers saves them.
        kind: the class, diffusers' or transformers'.
        device: where it goes.
        dtype: what it computes in.
        pickles: whether its weights may be pickles where there is nothing else.

    Raises:
        ValueError: the weights are not all there, or not this network's; and what the library
            raises.
    """
    chosen = choice({path.name for path in folder.iterdir()}, pickles)
    if chosen is None:
        raise ValueError(NO_WEIGHTS)
    variant, names = chosen
    module, info = kind.from_pretrained(
        folder,
        torch_dtype=dtype,
        variant=variant,
        local_files_only=True,
        use_safetensors=not names[0].endswith(".bin"),
        device_map={"": str(device)},
        output_loading_info=True,
    )
    missing = sorted(info["missing_keys"])
    if missing:  # they would be left at random values
        raise ValueError(f"the weights lack {len(missing)} tensors, {missing[0]} for one")
    unknown = sorted(key for key in info["unexpected_keys"] if not key.endswith(OBSOLETE))
    if unknown:
        raise ValueError(f"the weights have {len(unknown)} unknown tensors, {unknown[0]} for one")
    return module


def from_single_file(
    path: Path, name: str, kind: Any, device: torch.device, dtype: torch.dtype, config: Path
) -> Any:
    """The network `name` out of a file in the original layout, or of a UNet alone in a file.

    Args:
        path: the file, which may hold other networks, too.
        name: `unet`, `vae` or `text_encoder`.
        kind: its class, diffusers' or transformers'.
        device: where it goes.
        dtype: what it computes in.
        config: the folder of its config.json.

    Raises:
        ConfinerError: tensors are missing, unknown, or of other shapes.
        ValueError: and all else that the libraries raise.
    """
    part = read_part(path, *_names(path, name))
    stated = json.loads((config / "config.json").read_text(encoding="utf-8"))
    with init_empty_weights():  # its parameters alone: what is computed of the config stays
        module = _made(kind, stated)
    tensors = part if part.keys() <= module.state_dict().keys() else _converted(name, part, stated)
    _check_all_used(part, tensors)
    what = f"{kind.__name__} as {config / 'config.json'} states it"
    return fill(module, tensors, path, what).to(device, dtype)


def _names(path: Path, name: str) -> tuple[str, str]:
    """What the names of a network's tensors begin with in a file, and what they should."""
    names = names_in(path)
    inside = any(key.startswith(PREFIXES[name]) for key in names)
    return PREFIXES[name] if inside else "", PREFIXES[name]


def _made(kind: Any, config: dict[str, Any]) -> Any:
    if hasattr(kind, "from_config"):
        return kind.from_config(config)
    return kind(kind.config_class.from_dict(config))


def _converted(name: str, part: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of the original layout by the names that the network has."""
    # It takes a second to import, and most experts are in folders.
    from diffusers.loaders.single_file_utils import (
        convert_ldm_clip_checkpoint,
        convert_ldm_unet_checkpoint,
        convert_ldm_vae_checkpoint,
    )

    if name == "text_encoder":
        tensors = convert_ldm_clip_checkpoint(part)
        return {
            key.removeprefix("text_model."): value
            for key, value in tensors.items()
            if not key.endswith(OBSOLETE)
        }
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

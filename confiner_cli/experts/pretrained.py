"""Networks with the weights that diffusers and transformers save: in a folder, or in one file."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from confiner_cli.experts.empty import without_parameters
from confiner_cli.experts.precision import Precision, precision_of
from confiner_cli.weights.select import weight_files
from confiner_cli.weights.single_file import PREFIXES, names_in
from confiner_cli.weights.tensors import fill, listed, misfits, read_part, read_turned

NO_WEIGHTS = "it has no safetensors weights, or not all of their files"
OBSOLETE = "position_ids"
"""What published text encoders have and today's do not."""
TEXT_MODEL = "text_model."
"""Where all of a text encoder once was."""
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""What a VAE's attention was called before diffusers had one class of it."""
_OLD = re.compile(rf"\.({'|'.join(OLD_ATTENTION)})(?=\.(weight|bias)$)")


@dataclass(frozen=True)
class Stored:
    """A tensor that has not been read.

    Attributes:
        file: where it is.
        name: what it is called there.
        shape: how many numbers it has along each dimension.
    """

    file: Path
    name: str
    shape: tuple[int, ...]


def from_folder(
    folder: Path,
    kind: Any,
    device: torch.device,
    dtype: torch.dtype,
    pickles: bool,
    allowed: Collection[str] = (),
) -> Any:
    """The network of a component's folder, on its device.

    Its tensors are turned to their precision one by one while they are read, and no shard is in
    memory beside what it has become. On a CPU those that are stored in it stay in the file.

    Args:
        folder: with config.json and weights, as diffusers and transformers save them.
        kind: the class, diffusers' or ours, which has `from_config`.
        device: where it goes.
        dtype: what it computes in; what its class keeps in float32 is in float32.
        pickles: whether its weights may be pickles where there is nothing else.
        allowed: patterns of whole names: what the files may have of them beside the network's
            tensors, and what is not read then.

    Raises:
        ValueError: the weights are not all there, or not this network's; and what the library
            raises.
        ConfinerError: a file cannot be read.
    """
    files = weight_files(folder, pickles)
    if not files:
        raise ValueError(NO_WEIGHTS)
    module = _empty(kind, _stated(folder))
    wanted = module.state_dict()
    stored = dict(_stored(files, wanted.keys(), allowed))
    ties = _ties(module, stored)
    if wrong := misfits({name: wanted[name] for name in wanted.keys() - ties.keys()}, stored):
        raise ValueError(f"it {wrong}")
    tensors = dict(_read(stored, precision_of(module, device, dtype)))
    module.load_state_dict({**tensors, **_same(ties, tensors)}, assign=True)
    _tie(module, ties)
    return _moved(module, device)


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
    precision = precision_of(module, device, dtype)
    turned = {key: precision.turned(key, tensor) for key, tensor in tensors.items()}
    what = f"{kind.__name__} as {config / 'config.json'} states it"
    return _moved(fill(module, turned, path, what), device)


def _stated(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def _empty(kind: Any, config: dict[str, Any]) -> Any:
    """A network without its parameters; what is computed of the config is there."""
    with without_parameters():
        return kind.from_config(config)


def _moved(module: nn.Module, device: torch.device) -> nn.Module:
    """With what is in no file, too: what was computed of the config keeps its precision."""
    return nn.Module.to(module, device)


def _stored(
    files: Iterable[Path], wanted: Collection[str], allowed: Collection[str]
) -> Iterator[tuple[str, Stored]]:
    """The tensors of files by the names that the network has now, without those to be left."""
    for file in files:
        shapes = listed(file)
        for name, ours in _todays_names(shapes, wanted):
            if ours in wanted or not any(re.fullmatch(pattern, name) for pattern in allowed):
                yield ours, Stored(file, name, tuple(shapes[name].shape))


def _read(stored: Mapping[str, Stored], precision: Precision) -> Iterator[tuple[str, Tensor]]:
    for file in dict.fromkeys(each.file for each in stored.values()):
        ours = {each.name: name for name, each in stored.items() if each.file == file}
        for name, tensor in read_turned(file, ours, partial(_turned, precision, ours)):
            yield ours[name], tensor


def _turned(precision: Precision, ours: Mapping[str, str], name: str, tensor: Tensor) -> Tensor:
    return precision.turned(ours[name], tensor)


def _ties(module: Any, stored: Collection[str]) -> dict[str, str]:
    """Parameters that are others under second names, and in no file, by the others' names.

    transformers says which, and saves them once.
    """
    second: Mapping[str, str] = getattr(module, "all_tied_weights_keys", {})
    return {name: first for name, first in second.items() if name not in stored}


def _same(ties: Mapping[str, str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensors[first] for name, first in ties.items()}


def _tie(module: nn.Module, ties: Mapping[str, str]) -> None:
    """Make one parameter of two with the same numbers, which another device would have twice."""
    for name, first in ties.items():
        owner, _, last = name.rpartition(".")
        setattr(module.get_submodule(owner), last, module.get_parameter(first))


def _todays_names(names: Iterable[str], wanted: Collection[str]) -> Iterator[tuple[str, str]]:
    """The names of a folder's tensors, each with the one that the network has for it now."""
    for name in names:
        if name in wanted:
            yield name, name
        elif not name.endswith(OBSOLETE):
            yield name, _todays(name)


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
        found = convert_ldm_clip_checkpoint(part)
        return {ours: found[theirs] for theirs, ours in _todays_names(found, ())}
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

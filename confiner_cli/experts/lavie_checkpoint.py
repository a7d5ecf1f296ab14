"""LaVie's checkpoint: one file with the whole UNet, published as a pickle; read without running what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.lavie import LaVieUNet

SUFFIX = ".safetensors"


def load_unet(path: Path) -> LaVieUNet:
    """The UNet of a checkpoint, on the CPU, in the file's own precision.

    The architecture is the published one, unless a `config.json` beside the file (the keys of a diffusers UNet
    config) says otherwise.

    Raises:
        ConfinerError: the file cannot be read, or is no LaVie UNet: tensors are missing, unknown, or of other shapes.
    """
    tensors, config = read_tensors(path), path.with_name("config.json")
    try:
        with torch.device("meta"):
            unet = LaVieUNet(**json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {})
    except (ValueError, TypeError) as error:
        raise ConfinerError(f"{config} is no config of LaVie's UNet: {error}", f"mend or remove {config}") from error
    _check(path, tensors, {key: tuple(value.shape) for key, value in unet.state_dict().items()})
    unet.load_state_dict(tensors, assign=True)
    return unet.eval().requires_grad_(False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file or of a pickle, which may hold them under `ema`.

    Raises:
        ConfinerError: the file is damaged, or a pickle that holds more than tensors (nothing of it is run).
    """
    try:
        if path.suffix == SUFFIX:
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except UnpicklingError as error:
        raise ConfinerError(
            f"{path} is refused: it holds more than tensors, or is no checkpoint",
            "a checkpoint that needs code to be read is not safe; get the published file, or one in safetensors format",
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfinerError(f"{path} cannot be read: {reason}", "is the file whole? download it once more") from error
    tensors = content.get("ema", content) if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ConfinerError(f"{path} holds no state dict", "LaVie's is called lavie_base.pt")
    return dict(tensors)


def convert(source: Path, target: Path) -> None:
    """Write a checkpoint as safetensors, whole or not at all: read faster, and by anyone without fear.

    Raises:
        ConfinerError: see `load_unet`; or there is a file at `target`.
    """
    if target.exists():
        raise ConfinerError(f"{target} exists", "name another file, or remove it")
    unet = load_unet(source)
    # The published file has one table under 16 names; safetensors keeps no shared memory.
    tensors = {key: value.clone().contiguous() for key, value in unet.state_dict().items()}
    temporary = target.with_name(f".{target.name}.writing")
    try:
        save_file(tensors, temporary, metadata={"format": "pt"})
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _check(path: Path, tensors: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
    missing, unknown = sorted(shapes.keys() - tensors.keys()), sorted(tensors.keys() - shapes.keys())
    wrong = [key for key in shapes.keys() & tensors.keys() if tuple(tensors[key].shape) != shapes[key]]
    faults = (("lacks", missing), ("has unknown", unknown), ("has other shapes of", sorted(wrong)))
    found = [f"{verb} {len(keys)} tensors ({keys[0]} for one)" for verb, keys in faults if keys]
    if found:
        raise ConfinerError(f"{path} is no LaVie UNet: it {' and '.join(found)}", "LaVie's is called lavie_base.pt")

"""A network's tensors in one file: read without running what is in it, and held against the network they are for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from confiner_cli.errors import ConfinerError, first_line
from confiner_cli.files import atomic_write

SUFFIX = ".safetensors"


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """All tensors of a safetensors file, straight to the device, or of a pickle, which may hold them under `ema`.

    Raises:
        ConfinerError: the file is damaged, or a pickle that holds more than tensors (nothing of it is run).
    """
    try:
        if path.suffix == SUFFIX:
            return dict(load_file(path, device=str(device)))
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except UnpicklingError as error:
        raise ConfinerError(
            f"{path} is refused: it holds more than tensors, or is no checkpoint",
            "a checkpoint that needs code to be read is not safe; get the published file, or one in safetensors format",
        ) from error
    except torch.OutOfMemoryError:
        raise
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise ConfinerError(
            f"{path} cannot be read: {first_line(error)}",
            "is the file whole? download it once more",
        ) from error
    tensors = content.get("ema", content) if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not all(
        isinstance(value, Tensor) for value in tensors.values()
    ):
        raise ConfinerError(
            f"{path} holds no state dict", "name the file that the network was published as"
        )
    return dict(tensors)


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path, what: str) -> nn.Module:
    """Give a module without weights (on the meta device) the tensors of a file, none copied, and freeze it.

    Raises:
        ConfinerError: tensors are missing, unknown, or of other shapes.
    """
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    missing, unknown = (
        sorted(shapes.keys() - tensors.keys()),
        sorted(tensors.keys() - shapes.keys()),
    )
    wrong = [
        key for key in shapes.keys() & tensors.keys() if tuple(tensors[key].shape) != shapes[key]
    ]
    faults = (("lacks", missing), ("has unknown", unknown), ("has other shapes of", sorted(wrong)))
    found = [f"{verb} {len(keys)} tensors ({keys[0]} for one)" for verb, keys in faults if keys]
    if found:
        raise ConfinerError(
            f"{path} is no {what}: it {' and '.join(found)}", f"name the file of a {what}"
        )
    module.load_state_dict(tensors, assign=True)
    return module.eval().requires_grad_(False)


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        ConfinerError: there is a file of this name.
    """
    refuse_existing(path)
    # Published files have one table under many names; safetensors keeps no shared memory.
    apart = {key: value.clone().contiguous() for key, value in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(apart, temporary, metadata={"format": "pt"})


def refuse_existing(path: Path) -> None:
    """Raises ConfinerError where there is a file already."""
    if path.exists():
        raise ConfinerError(f"{path} exists", "name another file, or remove it")

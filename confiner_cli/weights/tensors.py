"""A network's tensors in one file: read without running it, held against the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from threading import Lock
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.serialization import safe_globals

from confiner_cli.errors import ConfinerError, first_line
from confiner_cli.files import atomic_write

SUFFIX = ".safetensors"
WRAPPERS = ("ema", "state_dict")
"""Under which names a pickle may hold its tensors."""
NOTES = ("animatediff_config", "epoch", "global_step")
"""What training writes beside tensors, and what decides nothing of them."""
SAFE = (nn.ParameterDict,)
"""What a pickle may hold beside what `weights_only` takes: old embeddings have it."""
_UNPICKLING = Lock()


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """All tensors of a safetensors file, straight to the device, or of a pickle, on the CPU.

    A pickle may hold them under one of `WRAPPERS`, and `NOTES` beside them, which are left out.

    Raises:
        ConfinerError: the file is damaged, or a pickle that holds more than tensors (nothing of it
            is run).
    """
    tensors = _unwrapped(read_content(path, str(device)))
    if not isinstance(tensors, dict) or not _all_tensors(tensors.values()):
        raise ConfinerError(
            f"{path} holds no state dict", "name the file that the network was published as"
        )
    return dict(tensors)


def _unwrapped(content: Any) -> Any:
    if not isinstance(content, dict):
        return None
    for wrapper in WRAPPERS:
        if wrapper in content:
            return _unwrapped(content[wrapper])
    return {name: value for name, value in content.items() if name not in NOTES}


def read_content(path: Path, device: str = "cpu") -> Any:
    """What a safetensors file or a pickle holds: tensors by name, or what else there is in it.

    Raises: as `read_tensors`.
    """
    try:
        if path.suffix == SUFFIX:
            return load_file(path, device=device)
        # torch keeps what is safe in one place for the whole process.
        with _UNPICKLING, safe_globals(list(SAFE)):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except UnpicklingError as error:
        raise ConfinerError(
            f"{path} is refused: it holds more than tensors, or is no checkpoint",
            "a checkpoint that needs code to be read is not safe; get the published file, or one "
            "in safetensors format",
        ) from error
    except torch.OutOfMemoryError:
        raise  # a RuntimeError, too, but not the file's fault
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise ConfinerError(
            f"{path} cannot be read: {first_line(error)}",
            "is the file whole? download it once more",
        ) from error


def _all_tensors(values: Iterable[object]) -> bool:
    return all(isinstance(value, Tensor) for value in values)


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path, what: str) -> nn.Module:
    """Give a module without weights (on the meta device) the tensors of a file, and freeze it.

    None of them is copied.

    Args:
        module: is given its tensors in place.
        tensors: by their names in the module's state dict.
        path: the file that they come from, for messages.
        what: the kind of network, for messages.

    Raises:
        ConfinerError: tensors are missing, unknown, or of other shapes.
    """
    faults = [
        f"{verb} {len(keys)} tensors ({keys[0]} for one)"
        for verb, keys in _faults(module.state_dict(), tensors)
        if keys
    ]
    if faults:
        raise ConfinerError(
            f"{path} is no {what}: it {' and '.join(faults)}", f"name the file of a {what}"
        )
    module.load_state_dict(tensors, assign=True)
    return module.eval().requires_grad_(False)


def _faults(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> Iterator[tuple[str, list[str]]]:
    """What is wrong with a file's tensors, and the names of those of which it is."""
    yield "lacks", sorted(wanted.keys() - found.keys())
    yield "has unknown", sorted(found.keys() - wanted.keys())
    both = sorted(wanted.keys() & found.keys())
    yield "has other shapes of", [key for key in both if wanted[key].shape != found[key].shape]


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

"""A network's tensors in one file: read without running it, held against the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from threading import Lock
from typing import Any, Protocol
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.serialization import safe_globals

from confiner_cli.errors import ConfinerError, first_line, is_ram_full, no_ram_for
from confiner_cli.files import atomic_write, temporary_folder_beside
from confiner_cli.weights.select import read_header

SUFFIX = ".safetensors"
WRAPPERS = ("ema", "state_dict")
"""Under which names a pickle may hold its tensors."""
NOTES = ("animatediff_config", "epoch", "global_step")
"""What training writes beside tensors, and what decides nothing of them."""
SAFE = (nn.ParameterDict,)
"""What a pickle may hold beside what `weights_only` takes: old embeddings have it."""
AT_ONCE = 2**28
"""Bytes of a file that are in memory at once where its tensors become others."""
_UNPICKLING = Lock()


class Shaped(Protocol):
    """A tensor, or what a file says of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """How many numbers it has along each dimension."""


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


def read_part(path: Path, prefix: str, renamed: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, on the CPU, with another beginning.

    Raises: as `read_tensors`.
    """
    if path.suffix != SUFFIX:
        found = {key: value for key, value in read_tensors(path).items() if key.startswith(prefix)}
    else:
        with _readable(path), safe_open(path, framework="pt") as file:
            names = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118
            found = {key: file.get_tensor(key) for key in names}
    return {renamed + key.removeprefix(prefix): value for key, value in found.items()}


def listed(path: Path) -> Mapping[str, Shaped]:
    """The tensors of a file by name, as far as their shapes; of a safetensors file none is read.

    Raises:
        OSError, ValueError: as `read_header`.
        ConfinerError: as `read_tensors`, of a pickle.
    """
    return read_header(path) if path.suffix == SUFFIX else read_tensors(path)


def read_turned(
    path: Path, names: Iterable[str], turned: Callable[[str, Tensor], Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a file by name, one after another, each turned into what is wanted of it.

    They come from the file's own pages, mapped into memory. Those that are turned into themselves
    stay there; of all others no more than `AT_ONCE` bytes, and one tensor, are in memory at a time.

    Args:
        path: a safetensors file, or a pickle, all of which is read at once.
        names: which ones.
        turned: makes of a name and a tensor on the CPU the same or another one.

    Raises:
        ConfinerError: as `read_tensors`.
    """
    if path.suffix != SUFFIX:
        tensors = read_tensors(path)
        yield from ((name, turned(name, tensors.pop(name))) for name in names)
        return
    left = deque(names)
    while left:
        yield from _read_some(path, left, turned)


def _read_some(
    path: Path, left: deque[str], turned: Callable[[str, Tensor], Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """As `read_turned`, until so much has been turned that the file is to be let go of."""
    size = 0
    for name, tensor in _mapped(path, tuple(left)):
        left.popleft()
        made = turned(name, tensor)
        size += 0 if made is tensor else tensor.nbytes
        del tensor  # before the next one is read
        yield name, made
        if size > AT_ONCE:
            return


def _mapped(path: Path, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
    with _readable(path), safe_open(path, framework="pt") as file:
        for name in names:
            yield name, file.get_tensor(name)


def read_content(path: Path, device: str = "cpu") -> Any:
    """What a safetensors file or a pickle holds: tensors by name, or what else there is in it.

    Raises: as `read_tensors`.
    """
    with _readable(path):
        if path.suffix == SUFFIX:
            return load_file(path, device=device)
        # torch keeps what is safe in one place for the whole process.
        with _UNPICKLING, safe_globals(list(SAFE)):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UnpicklingError as error:
        raise ConfinerError(
            f"{path} is refused: it holds more than tensors, or is no checkpoint",
            "a checkpoint that needs code to be read is not safe; get the published file, or one "
            "in safetensors format",
        ) from error
    except torch.OutOfMemoryError:
        raise  # a RuntimeError, too, but not the file's fault
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, MemoryError) as error:
        if is_ram_full(error):
            raise no_ram_for(str(path)) from error
        raise ConfinerError(
            f"{path} cannot be read: {first_line(error)}",
            "is the file whole? download it once more",
        ) from error


def _all_tensors(values: Iterable[object]) -> bool:
    return all(isinstance(value, Tensor) for value in values)


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path, what: str) -> nn.Module:
    """Give a module without weights (on the meta device) the tensors of a file, and freeze it.

    Only buffers are copied: a module may keep the precision of one where its weights get another,
    and the smallest tensor out of a file that stays keeps all of the file mapped.

    Args:
        module: is given its tensors in place.
        tensors: by their names in the module's state dict.
        path: the file that they come from, for messages.
        what: the kind of network, for messages.

    Raises:
        ConfinerError: tensors are missing, unknown, or of other shapes.
    """
    if wrong := misfits(module.state_dict(), tensors):
        raise ConfinerError(f"{path} is no {what}: it {wrong}", f"name the file of a {what}")
    copied = {name: tensors[name].clone() for name, _ in module.named_buffers() if name in tensors}
    module.load_state_dict({**tensors, **copied}, assign=True)
    return module.eval().requires_grad_(False)


def misfits(wanted: Mapping[str, Shaped], found: Mapping[str, Shaped]) -> str:
    """What is wrong with tensors as all of those that are wanted, in words; "" where they are."""
    faults = [
        f"{verb} {len(keys)} tensors ({keys[0]} for one)"
        for verb, keys in _faults(wanted, found)
        if keys
    ]
    return " and ".join(faults)


def _faults(
    wanted: Mapping[str, Shaped], found: Mapping[str, Shaped]
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
    save_tensors(dict(_apart(tensors)), path, metadata={"format": "pt"})


def _apart(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Published files have one table under many names; safetensors keeps no shared memory."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        yield name, tensor.clone() if place in seen else tensor.contiguous()
        seen.add(place)


def save_tensors(
    tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all; an existing one is replaced."""
    # safetensors writes to a file of its own first, which only its owner may read, and which a
    # kill leaves under a name that nobody knows.
    with atomic_write(path) as temporary, temporary_folder_beside(path) as folder:
        written = folder / path.name
        save_file(tensors, written, metadata)
        written.replace(temporary)


def refuse_existing(path: Path) -> None:
    """Raises ConfinerError where there is a file already."""
    if path.exists():
        raise ConfinerError(f"{path} exists", "name another file, or remove it")

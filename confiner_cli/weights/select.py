"""Which files of a component's folder hold its weights: whole or in shards, rather in 16 bits.

The same choice is made among the names in a repository, before anything is downloaded, and among
the files of a folder.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError, safe_open

from confiner_cli.files import SETTLED

INDEX = "model_index.json"
"""What a pipeline folder has and a component alone has not."""
TOKENIZERS = ({"tokenizer.json"}, {"vocab.json", "merges.txt"})
UNWEIGHTED = ("tokenizer", "scheduler")
"""Components without weights."""
STEMS = ("diffusion_pytorch_model", "model")
PICKLED = ("diffusion_pytorch_model.bin", "pytorch_model.bin")
VARIANTS = ("fp16", None)
"""In order of preference: the files in 16 bits, or those that have no mark."""


def choice(
    names: Collection[str], pickles: bool = False
) -> tuple[str | None, tuple[str, ...]] | None:
    """The variant and the names of the weight files among the names in a folder.

    None where they are not all there. Pickles are taken only where they are allowed and there is
    nothing else.
    """
    for variant in VARIANTS:
        for stem in STEMS:
            if found := tuple(_named(names, stem, variant)):
                return variant, found
    pickled = tuple(name for name in PICKLED if pickles and name in names)
    return (None, pickled) if pickled else None


def _named(names: Collection[str], stem: str, variant: str | None) -> Iterator[str]:
    mark = f".{variant}" if variant else ""
    if f"{stem}{mark}.safetensors" in names:
        yield f"{stem}{mark}.safetensors"
        return
    index = f"{stem}.safetensors.index{mark}.json"
    shards = re.compile(rf"{stem}{re.escape(mark)}-\d+-of-(\d+)\.safetensors").fullmatch
    found = [(name, match) for name in sorted(names) if (match := shards(name))]
    if index in names and found and len(found) == int(found[0][1][1]):
        yield index
        yield from (name for name, _ in found)


def is_whole(component: str, names: Collection[str], pickles: bool = False) -> bool:
    """Whether all files of a component are among the names in a pipeline folder.

    The component "" is the folder itself.
    """
    inside = _inside(component, names)
    if component == "tokenizer":
        return "tokenizer_config.json" in inside and any(kind <= inside for kind in TOKENIZERS)
    if component == "scheduler":
        return "scheduler_config.json" in inside
    return "config.json" in inside and choice(inside, pickles) is not None


def needed_files(
    names: Collection[str], components: Iterable[str], pickles: bool = False
) -> Iterator[str]:
    """The names of the files that are needed of a pipeline folder, or of a component alone.

    Of weights it is one kind.
    """
    if INDEX not in names:
        yield from sorted(_needed("", _inside("", names), pickles))
        return
    yield INDEX
    for component in components:
        inside = _inside(component, names)
        for name in sorted(_needed(component, inside, pickles)):
            yield f"{component}/{name}"


def _needed(component: str, inside: set[str], pickles: bool) -> set[str]:
    if component in UNWEIGHTED:
        return {name for name in inside if name.endswith((".json", ".txt"))}
    chosen = choice(inside, pickles)
    weights = set(chosen[1]) if chosen else set()
    return weights | ({"config.json"} & inside)


def _inside(component: str, names: Collection[str]) -> set[str]:
    """The names directly in a component's folder, without the folder's."""
    prefix = f"{component}/" if component else ""
    inside = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return {name for name in inside if "/" not in name}


def weight_files(folder: Path, pickles: bool = False) -> tuple[Path, ...]:
    """The weight files of a component's folder; none where they are not all there."""
    chosen = choice({path.name for path in folder.iterdir()}, pickles)
    names = chosen[1] if chosen else ()
    return tuple(folder / name for name in names if not name.endswith(".json"))


@dataclass(frozen=True)
class TensorInfo:
    """What a safetensors file says of a tensor: its type, such as `F16`, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> Mapping[str, TensorInfo]:
    """The tensors of a safetensors file by name, none of which is read.

    A process that makes many videos reads it once, as long as the file does not change.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or ends too early or too late.
    """
    facts = path.stat()
    said = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
    if time.time() - facts.st_mtime < SETTLED:
        return _read_header(path)
    return _remembered_header(path, said)


@functools.lru_cache(maxsize=128)
def _remembered_header(path: Path, said: tuple[int, ...]) -> Mapping[str, TensorInfo]:
    """The header of a file that `stat` says this of."""
    return _read_header(path)


def _read_header(path: Path) -> Mapping[str, TensorInfo]:
    with _opened(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return MappingProxyType({
            name: TensorInfo(part.get_dtype(), tuple(part.get_shape()))
            for name, part in slices.items()
        })  # fmt: skip


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        # Of all frameworks' tensors numpy's are the quickest to import; none is made here.
        with safe_open(path, framework="np") as file:
            yield file
    except SafetensorError as error:
        with path.open("rb") as file:
            page = " but a web page" if file.read(64).lstrip().startswith(b"<") else ""
        raise ValueError(f"it is no whole safetensors file{page}: {error}") from error


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says beside its tensors; empty where it says nothing.

    Raises:
        OSError, ValueError: as `read_header`.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})

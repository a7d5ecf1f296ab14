"""Which files of a part's folder hold its weights: safetensors, whole or in shards, in 16 bits where there is a choice.

The same choice is made among the names in a repository, before anything is downloaded, and among the files of a folder.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

STEMS = ("diffusion_pytorch_model", "model")
PICKLED = ("diffusion_pytorch_model.bin", "pytorch_model.bin")
VARIANTS = ("fp16", None)
"""In order of preference: the files in 16 bits, or those that have no mark."""
LONGEST_HEADER = 100_000_000


def choice(names: Collection[str], pickles: bool = False) -> tuple[str | None, tuple[str, ...]] | None:
    """The variant and the names of the weight files among the names in a folder; None where they are not all there.

    Pickles are taken only where they are allowed and there is nothing else.
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


def weight_files(folder: Path, pickles: bool = False) -> tuple[Path, ...]:
    """The weight files of a part's folder; none where they are not all there."""
    chosen = choice({path.name for path in folder.iterdir()}, pickles)
    return tuple(folder / name for name in chosen[1] if not name.endswith(".json")) if chosen else ()


def read_header(path: Path) -> dict[str, Any]:
    """Names, types and shapes of a safetensors file's tensors, none of which is read.

    Raises:
        ValueError: it is no such file, or ends too early.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST_HEADER
        if length >= LONGEST_HEADER:
            raise ValueError("it is no safetensors file" + (" but a web page" if start.lstrip()[:1] == b"<" else ""))
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if path.stat().st_size != end:
        raise ValueError(f"it has {path.stat().st_size} bytes and should have {end}")
    return header

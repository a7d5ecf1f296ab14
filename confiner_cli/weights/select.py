"""Which files of a part's folder hold its weights: safetensors, whole or in shards, in 16 bits where there is a choice.

The same choice is made among the names in a repository, before anything is downloaded, and among the files of a folder.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

INDEX = "model_index.json"
"""What a pipeline folder has and a part alone has not."""
TOKENIZERS = ({"tokenizer.json"}, {"vocab.json", "merges.txt"})
STEMS = ("diffusion_pytorch_model", "model")
PICKLED = ("diffusion_pytorch_model.bin", "pytorch_model.bin")
VARIANTS = ("fp16", None)
"""In order of preference: the files in 16 bits, or those that have no mark."""
LONGEST_HEADER = 100_000_000


def choice(
    names: Collection[str], pickles: bool = False
) -> tuple[str | None, tuple[str, ...]] | None:
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


def is_whole(part: str, names: Collection[str], pickles: bool = False) -> bool:
    """Whether all files of a part are among the names in a pipeline folder; the part "" is the folder itself."""
    inside = _inside(part, names)
    if part == "tokenizer":
        return "tokenizer_config.json" in inside and any(kind <= inside for kind in TOKENIZERS)
    if part == "scheduler":
        return "scheduler_config.json" in inside
    return "config.json" in inside and choice(inside, pickles) is not None


def needed_files(
    names: Collection[str], parts: Iterable[str], pickles: bool = False
) -> Iterator[str]:
    """The names of the files that the parts of a pipeline folder need, or a part alone: one kind of weights each."""
    if INDEX in names:
        yield INDEX
    for part in parts if INDEX in names else ("",):
        inside = _inside(part, names)
        chosen = choice(inside, pickles)
        small = part in ("tokenizer", "scheduler")
        wanted = (
            {name for name in inside if name.endswith((".json", ".txt"))}
            if small
            else {"config.json"} & inside
        )
        wanted |= set(chosen[1]) if chosen and not small else set()
        yield from (f"{part}/{name}" if part else name for name in sorted(wanted))


def _inside(part: str, names: Collection[str]) -> set[str]:
    prefix = f"{part}/" if part else ""
    return {
        name.removeprefix(prefix)
        for name in names
        if name.startswith(prefix) and "/" not in name[len(prefix) :]
    }


def weight_files(folder: Path, pickles: bool = False) -> tuple[Path, ...]:
    """The weight files of a part's folder; none where they are not all there."""
    chosen = choice({path.name for path in folder.iterdir()}, pickles)
    return (
        tuple(folder / name for name in chosen[1] if not name.endswith(".json")) if chosen else ()
    )


def read_header(path: Path) -> dict[str, Any]:
    """Names, types and shapes of a safetensors file's tensors, none of which is read.

    Raises:
        ValueError: it is no such file, or ends too early.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST_HEADER
        if length >= LONGEST_HEADER:
            raise ValueError(
                "it is no safetensors file"
                + (" but a web page" if start.lstrip()[:1] == b"<" else "")
            )
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if path.stat().st_size != end:
        raise ValueError(f"it has {path.stat().st_size} bytes and should have {end}")
    return header

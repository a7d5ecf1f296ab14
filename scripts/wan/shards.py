"""Random weights in safetensors files as `save_pretrained` divides them, in little memory.

Tensors are drawn and written one by one, so a shard of any size takes the memory of its largest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

Shapes = Mapping[str, Sequence[int]]
Draw = Callable[[str, Tensor], Tensor]
"""Fills an empty tensor, which has this name, and returns it."""
CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
ALIGNED = 8
"""Of how many bytes the length of a header is a multiple."""


def write_weights(
    folder: Path, stem: str, shapes: Shapes, dtype: torch.dtype, largest: int, draw: Draw
) -> None:
    """Write tensors into one file, or into shards with their index where it would be too large.

    Args:
        folder: is made.
        stem: what the files' names begin with.
        shapes: of all tensors, in their order.
        dtype: of all of them.
        largest: bytes of a shard, unless one tensor has more.
        draw: gives each its numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = list(_shards(shapes, dtype, largest))
    if len(shards) == 1:
        _write(folder / f"{stem}.safetensors", shapes, dtype, draw)
        return
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        _write(folder / name, shard, dtype, draw)
        places |= dict.fromkeys(shard, name)
    size = sum(_sizes(shapes, dtype))
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    path = folder / f"{stem}.safetensors.index.json"
    path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _sizes(shapes: Shapes, dtype: torch.dtype) -> list[int]:
    return [prod(shape) * dtype.itemsize for shape in shapes.values()]


def _shards(shapes: Shapes, dtype: torch.dtype, largest: int) -> Iterator[Shapes]:
    """The tensors in their order, each in the shard before it while there is room."""
    shard: dict[str, Sequence[int]] = {}
    filled = 0
    for (name, shape), size in zip(shapes.items(), _sizes(shapes, dtype), strict=True):
        if shard and filled + size > largest:
            yield shard
            shard, filled = {}, 0
        shard[name] = shape
        filled += size
    yield shard


def _write(path: Path, shapes: Shapes, dtype: torch.dtype, draw: Draw) -> None:
    with path.open("wb") as file:
        _write_header(file, shapes, dtype)
        for name, shape in shapes.items():
            values = draw(name, torch.empty(tuple(shape), dtype=dtype))
            file.write(values.view(torch.uint8).numpy().data)


def _write_header(file: BinaryIO, shapes: Shapes, dtype: torch.dtype) -> None:
    """Where each tensor begins and ends behind it, as safetensors' format has it."""
    ends = [0]
    for size in _sizes(shapes, dtype):
        ends.append(ends[-1] + size)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    for (name, shape), offsets in zip(shapes.items(), pairwise(ends), strict=True):
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNED)
    file.write(len(text).to_bytes(8, "little") + text)

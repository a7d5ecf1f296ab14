"""The tensors of published networks, by name, with their shapes."""

from __future__ import annotations

import re
from pathlib import Path

MANIFESTS = Path(__file__).parents[1] / "data" / "manifests"


def published(name: str) -> dict[str, list[int]]:
    """Those of a list, a line each: the key, in which {30} is each of 0 to 29, and the shape."""
    lines = (MANIFESTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return {
        key: [int(side) for side in shape]
        for keys, *shape in map(str.split, lines)
        for key in _expanded(keys)
    }


def _expanded(keys: str) -> list[str]:
    counted = re.search(r"\{(\d+)\}", keys)
    if counted is None:
        return [keys]
    return [keys.replace(counted[0], str(number)) for number in range(int(counted[1]))]

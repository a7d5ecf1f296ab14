"""Values held to bounds and choices; what is refused is told with its key and what it takes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

from confiner_cli.errors import ConfinerError

FPS = (1, 240)
"""The fewest and the most frames a second of a result."""


def in_range(key: str, value: Any, low: float, high: float) -> None:
    """Raise ConfinerError unless a number lies in `[low, high]`."""
    if not (math.isfinite(value) and low <= value <= high):
        bounds = f"{low} or more" if high == math.inf else f"{low} to {high}"
        raise ConfinerError(f"{key}={value} is out of range", f"{key}= takes {bounds}")


def one_of(key: str, value: Any, choices: Iterable[str], also: str = "") -> None:
    """Raise ConfinerError unless a value is one of the choices; `also` says what else there is."""
    names = tuple(choices)
    if value not in names:
        near = did_you_mean(str(value), names)
        raise ConfinerError(
            f"{key}={value} is unknown", f"{near}{key}= takes {', '.join(names)} {also}"
        )


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`did you mean X? ` for the choice nearest to a mistyped word, or nothing."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"did you mean {near[0]}? " if near else ""

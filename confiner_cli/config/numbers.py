"""Numbers of other libraries as Python's own: NumPy's and torch's come from notebooks."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from numbers import Real
from typing import Any


def plain(value: Any) -> Any:
    """A number as an int or a float, also as the key of a mapping; anything else as it is.

    `True` is no number here: whoever checks the value refuses it by name.
    """
    if isinstance(value, Mapping):
        return {plain(key): item for key, item in value.items()}
    if isinstance(value, (bool, int, str)):
        return value
    try:
        return operator.index(value)
    except TypeError:
        return float(value) if isinstance(value, Real) else value

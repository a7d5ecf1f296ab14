"""A nested config as one row of dotted keys: the one rule for all who compare configs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

DEEPEST = 16
"""A config is a few levels deep; a file from elsewhere may nest without end."""
WHOLE = frozenset({"prompts"})
"""Nodes whose keys are a person's own, and not settings."""


def flatten(config: Mapping[str, Any], whole: Collection[str] = WHOLE) -> dict[str, Any]:
    """The leaves of a config by dotted key, in its order.

    Args:
        config: nested mappings, as run.json has them.
        whole: dotted keys that are kept as they are, whatever is in them.

    Returns:
        `{"scheduler.refinement.te": 100, ...}`; an empty mapping is a leaf.
    """
    return dict(_leaves(config, whole, prefix="", depth=0))


def _leaves(
    node: Mapping[str, Any], whole: Collection[str], prefix: str, depth: int
) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value and key not in whole and depth < DEEPEST:
            yield from _leaves(value, whole, f"{key}.", depth + 1)
        else:
            yield key, value

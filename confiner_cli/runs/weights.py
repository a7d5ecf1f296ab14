"""Recorded weights held against those of now: a video is of one set of weights, from end to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from confiner_cli.weights.identity import content_hash

SHOWN = 12
"""Characters of a hash that tell it from others."""
Recorded = Mapping[str, Mapping[str, Mapping[str, str]]]
"""SHA-256 by role, part and file: what `experts.identity.weights_of` gives."""


def changed_parts(recorded: Mapping[str, Any], now: Recorded) -> Iterator[str]:
    """The parts whose content is not the recorded one, a line each.

    A part that moved is no change, nor one that the record or the run has not.
    """
    for role, parts in now.items():
        for part, files in parts.items():
            before = recorded.get(role, {}).get(part)
            if before and sorted(before.values()) != sorted(files.values()):
                yield f"experts.{role} {part}: {_differing(before, files)}"


def changed_files(recorded: Mapping[str, Any]) -> Iterator[Path]:
    """The recorded files that are there and hold something else now; loads no library."""
    for parts in recorded.values():
        for files in parts.values():
            for name, digest in files.items():
                path = Path(name)
                if path.is_file() and content_hash(path) != digest:
                    yield path


def without_places(weights: Mapping[str, Any]) -> dict[str, dict[str, dict[str, str]]]:
    """Weights by the names of their files alone, as others may read them."""
    return {
        role: {part: _named(files) for part, files in parts.items()}
        for role, parts in weights.items()
    }


def _named(files: Mapping[str, str]) -> dict[str, str]:
    return {Path(path).name: digest for path, digest in files.items()}


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The first file of now that the record has not, and what it had in its place."""
    known, there = set(before.values()), set(now.values())
    new = next(((path, digest) for path, digest in now.items() if digest not in known), None)
    gone = next((digest for digest in before.values() if digest not in there), "nothing")
    if new is None:
        return f"{gone[:SHOWN]} is gone"
    return f"{new[0]} was {gone[:SHOWN]}, is {new[1][:SHOWN]}"

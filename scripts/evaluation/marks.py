"""What tells results apart that were made in different ways: by settings, and by weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from confiner_cli.config.schema import Settings
from confiner_cli.files import sha256
from confiner_cli.weights.model_ref import EMBEDDED

GROUPS = ("experts", "scheduler", "long_video")


def mark(facts: object) -> str:
    """Eight digits that change with the facts: plain values, whose text is always the same."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:8]


def what_is_set(settings: Settings) -> dict[str, Any]:
    """What differs from the schema's defaults of all that decides a clip beside prompt and seed.

    A setting that is new and unused changes nothing. Nested as the settings are: marks are made of
    its text, and those of earlier results stay what they were.
    """
    chosen, defaults = asdict(settings), asdict(Settings())
    return {name: _changed(chosen[name], defaults[name]) for name in GROUPS}


def _changed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        chosen = _changed(value, defaults[key]) if isinstance(value, dict) else value
        if key not in defaults or chosen not in (defaults[key], {}):
            found[key] = chosen
    return found


def made_by(overrides: Sequence[str]) -> str:
    """A hash of all weights, and what is overridden for every row."""
    weights = sorted(EMBEDDED.rglob("*.safetensors"))
    digests = b"".join(bytes.fromhex(sha256(path)) for path in weights)
    digest = hashlib.sha256(digests).hexdigest()
    return "\n".join((f"embedded weights {digest[:16]}", *overrides, ""))

"""Settings out of a record: merged into the schema as values, for `from=` and to go on with a run.

A record may be older than a setting. What it does not say of its experts and its scheduler is then
as if there were no such setting (the schema's own default), and not what is chosen today.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from confiner_cli.config.flatten import flatten
from confiner_cli.config.overrides import known_keys
from confiner_cli.config.prompts import literal
from confiner_cli.config.schema import (
    MISSING,
    OF_THE_RUN,
    ROLES,
    SchedulerSettings,
    Settings,
    unstated,
)
from confiner_cli.errors import ConfinerError

OWN_SIZES = ("height", "width", "num_frames", "fps")
OWN_SEGMENTS = tuple(f"long_video.{key}" for key in ("segment_frames", "window_overlap", "turn"))
"""What a set of experts brings: another set brings its own."""


def recorded_values(
    config: Mapping[str, Any], replaced: Collection[str], where: str
) -> dict[str, Any]:
    """The part of a recorded config that still holds, nested, to be merged into the schema.

    Args:
        config: as recorded.
        replaced: dotted keys that do not hold any more; a key stands for all below it.
        where: the record's place, for messages.

    Returns:
        Plain values in which no text is read as an interpolation.

    Raises:
        ConfinerError: the record has a setting that confiner does not have.
    """
    known = set(known_keys(Settings))
    kept: dict[str, Any] = {}
    for key, value in flatten(_completed(config)).items():
        if key not in known:  # a file from elsewhere must not reach Hydra's own settings
            raise ConfinerError(
                f"the record of {where} has a setting that confiner does not have: {key}",
                "was it made by another version? give its settings by hand",
            )
        if not _stands_for(key, replaced):
            _put(kept, key, _literal(_from_json(key, value)))
    return kept


def replaced_keys(config: Mapping[str, Any], chosen: Collection[str]) -> set[str]:
    """The recorded keys that do not hold any more, with what a person has chosen anew.

    A group that is chosen anew (`scheduler=confiner_18`) replaces all of its recorded values. A new
    set of experts brings its own sizes, too.
    """
    replaced = {*chosen, "output", *OF_THE_RUN}
    if "experts" in chosen:
        replaced.update(OWN_SIZES, OWN_SEGMENTS)
    if "structure.video" in chosen:
        replaced.add("structure.sha256")
    if "prompt_file" in chosen or "prompts_file" in chosen:
        replaced.add("prompt")
    long_video = config.get("long_video")
    segment = long_video.get("segment_frames") if isinstance(long_video, Mapping) else None
    if "num_frames" in chosen and config.get("num_frames") == segment:
        # It was one segment because it was short.
        replaced.update(OWN_SEGMENTS[:2])
    return replaced


def _stands_for(key: str, replaced: Collection[str]) -> bool:
    """Whether a key, or a node that it is in, is replaced."""
    steps = key.split(".")
    return any(".".join(steps[: depth + 1]) in replaced for depth in range(len(steps)))


def _completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """With the schema's own defaults for what an older record does not say."""
    completed = dict(config)
    if isinstance(config.get("scheduler"), Mapping):
        completed["scheduler"] = _over(asdict(SchedulerSettings()), config["scheduler"])
    experts = config.get("experts")
    if isinstance(experts, Mapping):
        completed["experts"] = {"turn": False, **experts, **_completed_roles(experts)}
    return completed


def _completed_roles(experts: Mapping[str, Any]) -> dict[str, Any]:
    defaults = asdict(unstated())
    stated = {key: value for key, value in defaults.items() if value != MISSING}
    roles = (role for role in ROLES if isinstance(experts.get(role), Mapping))
    return {role: {**stated, **experts[role]} for role in roles}


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one, the second over the first, without what is left open."""
    merged = {key: value for key, value in below.items() if value != MISSING}
    for key, value in above.items():
        inner = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        merged[key] = _over(inner, value) if both and isinstance(inner, Mapping) else value
    return merged


def _from_json(key: str, value: Any) -> Any:
    """A value as the schema has it: JSON knows neither whole numbers as keys nor infinity."""
    if key == "num_frames" and value == "inf":
        return math.inf
    if key == "prompts" and isinstance(value, Mapping):
        return {
            int(frame) if str(frame).isdecimal() else frame: text for frame, text in value.items()
        }
    return value


def _put(node: dict[str, Any], key: str, value: Any) -> None:
    *parents, name = key.split(".")
    for parent in parents:
        node = node.setdefault(parent, {})
    node[name] = value


def _literal(value: Any) -> Any:
    """A recorded value in which no text is read as anything but itself."""
    if isinstance(value, str):
        return literal(value)
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value

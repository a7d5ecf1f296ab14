"""What differs between runs: the settings with more than one value among them, and which run has which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confiner_cli.gallery.runs import Run

FIRST = ("prompt", "seed")
UNTOLD = (
    "output",
    "resume",
    "experts.description",
    "scheduler.description",
    "long_video.description",
)
"""Where a run goes, and prose: no parameters of a video."""
DEEPEST = 8
CUT = "…"
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]{1,3})?").fullmatch


@dataclass(frozen=True)
class Axis:
    """One setting that differs.

    Attributes:
        key: dotted, as on the command line.
        values: as text, each once: numbers in their order, else as they come in the runs.
        swept: whether somebody set it (or it is the prompt or the seed); others follow from these.
        positions: for each run the index of its value, -1 where it has none.
    """

    key: str
    values: tuple[str, ...]
    swept: bool
    positions: tuple[int, ...]


def axes_of(runs: Sequence[Run]) -> list[Axis]:
    """The settings that differ between runs, what was set before what follows from it."""
    tables = [dict(_settings(run.facts)) for run in runs]
    keys = dict.fromkeys([*FIRST, *(key for table in tables for key in table)])
    chosen = {name for run in runs for word in run.overrides for name in _names(word)} | set(FIRST)
    axes = [axis for key in keys if (axis := _axis(key, tables, key in chosen))]
    return sorted(axes, key=lambda axis: (not axis.swept, axis.key != "prompt", axis.key == "seed"))


def key_of(word: str) -> str:
    """The dotted key of an override: `+experts/spatial=x` sets `experts.spatial`."""
    return word.partition("=")[0].lstrip("+~").replace("/", ".")


def _names(word: str) -> tuple[str, ...]:
    """The keys by which an override shows; a whole group shows by its name or its model."""
    key = key_of(word)
    return key, f"{key}.name", f"{key}.model"


def _axis(key: str, tables: Sequence[Mapping[str, str]], swept: bool) -> Axis | None:
    found = list(dict.fromkeys(table[key] for table in tables if key in table))
    if len(found) + any(key not in table for table in tables) < 2:
        return None
    if all(map(_NUMBER, found)):
        found.sort(key=float)
    places = {value: position for position, value in enumerate(found)}
    return Axis(
        key,
        tuple(found),
        swept,
        tuple(places[table[key]] if key in table else -1 for table in tables),
    )


def _settings(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The config's leaves; the prompt and the seed as the record has them, which early failures have too."""
    config = facts.get("config")
    yield from _leaves(config) if isinstance(config, dict) else ()
    yield from ((key, as_text(facts[key])) for key in FIRST if facts.get(key) is not None)


def _leaves(node: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    for name, value in node.items():
        key = prefix + name
        if key in UNTOLD:
            continue
        if isinstance(value, dict) and value and depth < DEEPEST and key != "prompts":
            yield from _leaves(value, f"{key}.", depth + 1)
        else:
            yield key, as_text(value)


def as_text(value: Any) -> str:
    """A setting's value as a person reads it: text as it is, else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return CUT

"""What differs between runs: settings with more than one value among them, and who has which."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from confiner_cli.config.flatten import flatten
from confiner_cli.config.schema import OF_THE_RUN
from confiner_cli.gallery.runs import Run
from confiner_cli.runs.record import RunRecord

FIRST = ("prompt", "seed")
NO_PARAMETERS = (
    "output.",
    *OF_THE_RUN,
    "experts.description",
    "scheduler.description",
    "long_video.description",
)
"""Where a run goes, and prose: they decide nothing about a video."""
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
    tables = [dict(_settings(run.record)) for run in runs]
    keys = dict.fromkeys(FIRST)  # a dict, since it keeps its order
    for table in tables:
        keys |= dict.fromkeys(table)
    chosen = set(FIRST)
    for run in runs:
        chosen |= _chosen(run)
    axes = [axis for key in keys if (axis := _axis(key, tables, key in chosen))]
    return sorted(axes, key=lambda axis: (not axis.swept, axis.key != "prompt", axis.key == "seed"))


def key_of(word: str) -> str:
    """The dotted key of an override: `+experts/spatial=x` sets `experts.spatial`."""
    return word.partition("=")[0].lstrip("+~").replace("/", ".")


def _chosen(run: Run) -> set[str]:
    """The keys by which a run's overrides show.

    A list shows as a whole, a whole group by its name or its model.
    """
    keys = {re.split(r"\.\d+(?:\.|$)", key_of(word))[0] for word in run.overrides}
    return keys | {f"{key}.name" for key in keys} | {f"{key}.model" for key in keys}


def _axis(key: str, tables: Sequence[Mapping[str, str]], swept: bool) -> Axis | None:
    found = list(dict.fromkeys(table[key] for table in tables if key in table))
    lacking = any(key not in table for table in tables)
    if len(found) + lacking < 2:
        return None
    if all(map(_NUMBER, found)):
        found.sort(key=Decimal)  # exact: seeds have up to 64 bits
    positions = {value: position for position, value in enumerate(found)}
    by_run = [positions[table[key]] if key in table else -1 for table in tables]
    return Axis(key, tuple(found), swept, tuple(by_run))


def _settings(record: RunRecord) -> Iterator[tuple[str, str]]:
    """The config's leaves, and prompt and seed of the record, which early failures have, too."""
    for key, value in flatten(record.config).items():
        if not key.startswith(NO_PARAMETERS):
            yield key, as_text(value)
    if record.prompt:
        yield "prompt", record.prompt
    if record.seed is not None:
        yield "seed", as_text(record.seed)


def as_text(value: Any) -> str:
    """A setting's value as a person reads it: text as it is, else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return CUT

"""The number of a finished run that a sweep returns to its sweeper (`objective=`)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args, get_type_hints

from confiner_cli.config.bounds import did_you_mean
from confiner_cli.config.flatten import flatten
from confiner_cli.config.schema import ROLES
from confiner_cli.errors import ConfinerError
from confiner_cli.measures.table import MEASURES, check_installed
from confiner_cli.runs.measuring import finished_video, measured_later
from confiner_cli.runs.record import RunRecord, read_run

OF_MEASURES = "measures."
BY_ROLE = ("evaluations", "passes")
NO_RESULT = ("config.", "format", "seed")
"""What is asked and not found: such a number is taken, but not proposed."""


def check_objective(name: str) -> None:
    """Refuse, before a sweep begins, a name that no run is going to have a number for.

    Stages in `seconds.` are known only once a run has ended.

    Raises:
        ConfinerError: it is neither a measure nor a number in run.json, or it is a measure that
            needs OpenCV, which is not installed.
    """
    measure = name.removeprefix(OF_MEASURES)
    if measure in MEASURES:
        check_installed(measure)
        return
    field, _, key = name.partition(".")
    kind = get_type_hints(RunRecord).get(field)
    alone = kind is int and not key
    among = get_args(kind)[1:] in ((int,), (float,)) and bool(key)
    if field in BY_ROLE:
        among = key in ROLES
    if not (alone or among) or name.startswith(OF_MEASURES):
        raise _unknown(name, f"objective={name} is no number of a run", _promised())


def objective_of(folder: Path, name: str) -> float:
    """A number of a finished run.

    Args:
        folder: the run's.
        name: a measure (`flicker`), or any number in run.json by its dotted path
            (`seconds.total`, `passes.control`). A measure that run.json does not have is computed
            from the finished video, and written there.

    Returns:
        It is finite.

    Raises:
        ConfinerError: the run is not done, or has no such number; says which ones there are.
    """
    record = read_run(folder)
    finished_video(folder, record)
    measure = name.removeprefix(OF_MEASURES)
    if measure in MEASURES:
        found = measured_later(folder, measure)[measure]
    else:
        found = _recorded(folder, record, name)
    if not _is_number(found):
        raise ConfinerError(
            f"{name} of {folder} is {found!r}, which is no finite number",
            "name a measure (flicker) or a number in run.json (seconds.total)",
        )
    return float(found)


def _recorded(folder: Path, record: RunRecord, name: str) -> Any:
    facts = flatten(asdict(record))
    if name not in facts:
        numbers = [each for each, value in facts.items() if _is_number(value)]
        there = [each for each in numbers if not each.startswith(NO_RESULT)]
        raise _unknown(name, f"{folder} has no number {name}", [*MEASURES, *there])
    return facts[name]


def _promised() -> list[str]:
    """The names that every run has a number for."""
    fields = [name for name, hint in get_type_hints(RunRecord).items() if hint is int]
    shown = [name for name in fields if name not in NO_RESULT]
    by_role = [f"{field}.{role}" for field in BY_ROLE for role in ROLES]
    return [*MEASURES, "seconds.total", *shown, *by_role]


def _unknown(name: str, message: str, choices: Iterable[str]) -> ConfinerError:
    names = list(dict.fromkeys(choices))
    near = did_you_mean(name, names)
    return ConfinerError(message, f"{near}there are {', '.join(names)}")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)

"""Watches a run of confiner from outside: which function is which activity of a `Split`.

Modules are watched once they are imported, so a process that imports them late does it still.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from whole.split import NETWORK, REST, Split

IMPORTS, CONFIG, LOAD = "imports", "config", "load"
WAITING, RECORDS, SHEET, HASHING = "waiting", "records", "contact sheet", "hashing"
POINTS = {
    "confiner_cli.config.overrides:parse_overrides": CONFIG,
    "confiner_cli.config.hydra:launch": CONFIG,  # which has all of the run inside
    "confiner_cli.config.resolve:resolve": CONFIG,
    "confiner_cli.runs.jobs:carry_out": REST,
    "confiner_cli.runs.here:load_pipeline": LOAD,
    "confiner_cli.experts.offload:NetworkCache._collecting": LOAD,
    "confiner_cli.runs.meter:Meter.wait": WAITING,
    "confiner_cli.runs.execute:open_run": RECORDS,
    "confiner_cli.runs.logbook:Logbook.update": RECORDS,
    "confiner_cli.runs.logbook:Logbook.event": RECORDS,
    "confiner_cli.runs.logbook:Logbook.log": RECORDS,
    "confiner_cli.runs.journal:Journal.add": RECORDS,
    "confiner_cli.runs.partial:save_tensors": RECORDS,
    "confiner_cli.runs.partial:remove": RECORDS,
    "confiner_cli.runs.logbook:Logbook.files": HASHING,
    "confiner_cli.runs.execute:write_contact_sheet": SHEET,
}
"""Functions as their callers look them up, and what they are counted as."""
NETWORKS = "confiner_cli.experts.offload:NetworkCache.get"
"""What gives networks by their roles."""
DECODERS = ("vae", "preview")
"""Roles of networks of which a method is called, and not they themselves."""


@contextmanager
def watched() -> Iterator[Split]:
    """Split this thread's seconds in the body."""
    split = Split()
    with ExitStack() as undo:
        points = {point: _counted(split, activity) for point, activity in POINTS.items()}
        points[NETWORKS] = _found(split, undo)
        importing = _importing(split, points, undo)
        _replace(builtins, "__import__", importing, undo)
        _replace(importlib, "import_module", importing, undo)
        _watch_loaded(points, undo)
        yield split
        split.mark()


Wrapping = Callable[[Callable[..., Any]], Callable[..., Any]]


def _counted(split: Split, activity: str) -> Wrapping:
    return lambda function: split.of(activity, function)


def _importing(split: Split, points: dict[str, Wrapping], undo: ExitStack) -> Wrapping:
    """An import, counted; what it has brought is watched from then on."""

    def wrapping(plain: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(plain)
        def imported(*arguments: Any, **options: Any) -> Any:
            if split.activity == IMPORTS:
                return plain(*arguments, **options)
            with split.doing(IMPORTS):
                module = plain(*arguments, **options)
            _watch_loaded(points, undo)
            return module

        return imported

    return wrapping


def _watch_loaded(points: dict[str, Wrapping], undo: ExitStack) -> None:
    """Replace the functions of modules that are imported by now."""
    for point in list(points):
        module, _, name = point.partition(":")
        loaded = sys.modules.get(module)
        if loaded is None or getattr(loaded.__spec__, "_initializing", False):
            continue
        *owners, last = name.split(".")
        owner: Any = loaded
        for each in owners:
            owner = getattr(owner, each)
        _replace(owner, last, points.pop(point), undo)


def _replace(owner: Any, name: str, wrapping: Wrapping, undo: ExitStack) -> None:
    plain = getattr(owner, name)
    setattr(owner, name, wrapping(plain))
    undo.callback(setattr, owner, name, plain)


def _found(split: Split, undo: ExitStack) -> Wrapping:
    """What gives networks, each of which is counted under its role from then on."""
    known: dict[int, Any] = {}

    def wrapping(plain: Callable[..., Any]) -> Callable[..., Any]:
        def get(cache: Any, key: Any, role: str, *others: Any) -> Any:
            module = plain(cache, key, role, *others)
            if id(module) not in known:
                known[id(module)] = module  # so that its number stays its own
                called = "decode" if role in DECODERS else "forward"
                _replace(module, called, _counted(split, NETWORK + role), undo)
            return module

        return get

    return wrapping

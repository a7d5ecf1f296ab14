"""Whole processes, started and timed: confiner's, diffusers', and what they cannot be without."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Told:
    """What a confiner process says of itself.

    Attributes:
        seconds: by activity of its main thread, its start and its end among them.
        calls: by activity, how often it was begun.
    """

    seconds: Mapping[str, float]
    calls: Mapping[str, int]


def seconds_of(*words: str) -> float:
    """How long a Python process takes, from its start to its end."""
    started = time.monotonic()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.monotonic() - started


def told(place: Path, ends: str, *words: str) -> Told:
    """Have a confiner process tell what it was doing.

    Args:
        place: an empty folder, for what it writes down.
        ends: the activity that its end is added to.
        words: of its command line.
    """
    out = place / "told.json"
    spawned = time.monotonic()
    command = [sys.executable, str(HERE / "process.py"), str(spawned), str(out), *words]
    subprocess.run(command, check=True, capture_output=True)
    over = time.monotonic()
    facts = json.loads(out.read_text(encoding="utf-8"))
    seconds = dict(facts["seconds"])
    seconds[ends] += over - facts["over"]
    return Told(seconds, facts["calls"])

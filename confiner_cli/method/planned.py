"""Visits before any expert is loaded: a plan lists them by the same functions as a run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from confiner_cli.method.schedule import Schedule


@dataclass(frozen=True)
class PlannedExpert:
    """All that a list of visits asks of an expert: which schedule it is on."""

    schedule: Schedule

    def read_on(self, schedule: Schedule) -> PlannedExpert:
        """The same expert, its output read on another schedule (eq. 7)."""
        return replace(self, schedule=schedule)

"""The tables as data: which rows they show, and which row the others are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.rows import (
    ALONE,
    CHEAPER,
    FLOOR,
    GUIDANCE,
    HELD_OUT,
    HOPS,
    PATTERNS,
    PRESETS,
    STEADY,
    TES,
    te_row,
)


@dataclass(frozen=True)
class Section:
    """A table.

    Attributes:
        title: above it.
        rows: by name, in this order, as far as they are there.
        reference: the row that the others are compared with.
    """

    title: str
    rows: tuple[str, ...]
    reference: str


_TE = tuple(
    te_row(pattern, te, control_steps)
    for pattern, control_steps in (
        ("coordinated", 4),
        ("coordinated", 8),
        ("two_visits_3", 4),
        (STEADY, 4),
    )
    for te in TES
)

SECTIONS = (
    Section("Table 1: each expert alone, and ConFiner", (*FLOOR, *ALONE, *PRESETS), "confiner_9"),
    Section("Table 3: Te, after 4 and after 8 control steps", _TE, "coordinated"),
    Section("Table 5: ways to refine", ("control_4", *PATTERNS), "coordinated"),
    Section("Cheaper ways to refine", ("coordinated", "two_visits", *CHEAPER), "coordinated"),
    Section(
        "Noise at hand-overs, and timesteps", ("coordinated", "two_visits_3", *HOPS), "coordinated"
    ),
    Section("Guidance", ("coordinated", "two_visits_3", *PRESETS, *GUIDANCE), "confiner_9"),
)
HELD_OUT_SECTIONS = (Section("Combinations that no training saw", HELD_OUT, "coordinated"),)

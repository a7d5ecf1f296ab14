"""The number of a job in its sweep, as the first of its words.

A launcher counts what it is handed: where a sweep goes on, that is not all of its jobs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_STATED = re.compile(r"job=(\d+)")


def with_number(number: int, words: Sequence[str]) -> tuple[str, ...]:
    """A job's words with its number."""
    return (f"job={number}", *words)


def number_and_words(words: Sequence[str], counted: int) -> tuple[int, tuple[str, ...]]:
    """A job's number and its words without it.

    Args:
        words: of the job, with its number or without.
        counted: the launcher's own number, which is the job's where no word says another.
    """
    stated = _STATED.fullmatch(words[0]) if words else None
    return (int(stated[1]), tuple(words[1:])) if stated else (counted, tuple(words))

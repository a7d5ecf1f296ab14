"""A sweep's jobs: all combinations of its values, held against the configs before the first begins.

A job is its words. Hydra composes one job of those that choose the same configs (`composer`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType

from confiner_cli.config.composer import Composer
from confiner_cli.config.hydra_errors import readable_errors
from confiner_cli.config.overrides import TEXT_KEYS
from confiner_cli.config.places import OURS, ConfigSource
from confiner_cli.progress import counted

LISTS = (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP, ValueType.RANGE_SWEEP)
TEXTS = tuple(f'{key}="' for key in TEXT_KEYS)
"""What words begin with whose values are verbatim, in quotes."""


@dataclass(frozen=True)
class Jobs(Sequence[tuple[str, ...]]):
    """The words of each job, in the order of Hydra's basic sweeper: the last key changes first.

    Attributes:
        axes: for each key the words that jobs have of it, as Hydra reads them.
    """

    axes: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return math.prod(map(len, self.axes))

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        words = []
        for axis in reversed(self.axes):
            number, place = divmod(number, len(axis))
            words.append(axis[place])
        return tuple(reversed(words))


def jobs_of(words: Sequence[str]) -> Jobs | None:
    """The jobs that the words of a sweep make with Hydra's basic sweeper.

    None where the values of a key are no list, which is for another sweeper.

    Args:
        words: overrides, as Hydra reads them, none of which is about Hydra itself.

    Raises:
        ConfinerError: an override that cannot be read.
    """
    overrides = _parsed(words)
    if not all(map(_is_listed, overrides)):
        return None
    return Jobs(tuple(tuple(_each_word(override)) for override in overrides))


def check(
    jobs: Jobs, recorded: Mapping[str, Any] | None = None, source: ConfigSource = OURS
) -> None:
    """Hold all jobs against the configs and the schema.

    Values do not depend on each other, so each is looked at once with each choice of configs.

    Args:
        jobs: what is to be made.
        recorded: as `hydra.compose` has it.
        source: as `hydra.compose` has it.

    Raises:
        ConfinerError: a value that the schema or the groups do not have, in whichever job.
    """
    composer = Composer(recorded, source)
    for words in counted(list(_samples(jobs, composer)), "checked"):
        composer.compose(words)


def _samples(jobs: Jobs, composer: Composer) -> Iterator[tuple[str, ...]]:
    """Jobs with each choice of configs that have each value at least once; any text can be had."""
    choices = [axis if composer.chooses(axis[0]) else axis[:1] for axis in jobs.axes]
    for first in Jobs(tuple(choices)):
        yield first
        for place, (axis, chosen) in enumerate(zip(jobs.axes, choices, strict=True)):
            is_text = axis[0].startswith(TEXTS)
            for word in () if is_text else axis[len(chosen) :]:
                yield (*first[:place], word, *first[place + 1 :])


@readable_errors()
def _parsed(words: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(words))


def _is_listed(override: Override) -> bool:
    return not override.is_sweep_override() or override.value_type in LISTS


def _each_word(override: Override) -> Iterator[str]:
    """An override for each of the values of one, as Hydra's sweeper makes them."""
    if not override.is_sweep_override():
        yield str(override.input_line)
        return
    key = override.get_key_element()
    for value in override.sweep_string_iterator():
        yield f"{key}={value}"

"""A sweep's jobs, all of them held against the configs and the schema before the first begins.

Hydra composes every job for that, a tenth of a second each and in silence. Here one job is composed
of those that choose the same configs; in the others only the values are other ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from confiner_cli.config.hydra import compose
from confiner_cli.config.hydra_errors import readable_errors
from confiner_cli.config.overrides import GROUPS
from confiner_cli.progress import counted

CHECKED = "hydra.sweeper.max_batch_size=1"
"""The override that lets Hydra compose each job when its turn comes, since all are checked."""
LISTS = (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP, ValueType.RANGE_SWEEP)


def count_checked(words: Sequence[str], recorded: Mapping[str, Any] | None) -> int | None:
    """How many jobs the words of a sweep make, none of which is wrong.

    None, and nothing is checked, where that is Hydra's to say: a word is about Hydra itself, which
    may have another sweeper or launcher then, or its values are no list.

    Args:
        words: overrides, as Hydra reads them.
        recorded: as `hydra.compose` has it.

    Raises:
        ConfinerError: an override that cannot be read, or that the schema or the groups do not
            have, in whichever job.
    """
    overrides = _parsed(words)
    if any(_is_hydra_s(override) for override in overrides):
        return None
    jobs = list(product(*map(_each_value, overrides)))
    _check(jobs, recorded)
    return len(jobs)


@readable_errors()
def _parsed(words: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(words))


def _is_hydra_s(override: Override) -> bool:
    listed = not override.is_sweep_override() or override.value_type in LISTS
    return override.is_hydra_override() or not listed


def _each_value(override: Override) -> list[Override]:
    """An override for each of the values of one, as Hydra's sweeper makes them."""
    if not override.is_sweep_override():
        return [override]
    key = override.get_key_element()
    return _parsed([f"{key}={value}" for value in override.sweep_string_iterator()])


def _check(jobs: Sequence[Sequence[Override]], recorded: Mapping[str, Any] | None) -> None:
    composed: dict[tuple[str | None, ...], DictConfig] = {}
    for job in counted(jobs, "checked"):
        choices = tuple(each.input_line for each in job if not _is_value(each))
        values = [each for each in job if _is_value(each)]
        if choices in composed and _takes(composed[choices], values):
            continue
        # The first of its kind; or Hydra has to say what is wrong with it, if it is.
        composed[choices] = compose([str(each.input_line) for each in job], recorded)


def _is_value(override: Override) -> bool:
    """Whether an override changes a value that is there, whichever configs there are."""
    plain = not (override.is_add() or override.is_force_add() or override.is_delete())
    return plain and override.package is None and override.key_or_group not in GROUPS


def _takes(config: DictConfig, values: Sequence[Override]) -> bool:
    """Whether a config can be given values, which it then has. All jobs of a sweep set the same
    keys, so nothing of the job before is left.
    """
    try:
        for override in values:
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    except OmegaConfBaseException:
        return False
    return True

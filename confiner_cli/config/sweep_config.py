"""What a config of a person's own says of sweeps: `hydra.mode` and `hydra.sweeper.params`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from confiner_cli.config.hydra import hydra_settings, values_of
from confiner_cli.config.hydra_errors import readable_errors
from confiner_cli.config.overrides import GROUPS, PROMPT_KEYS, TEXT_KEYS
from confiner_cli.config.places import ConfigSource
from confiner_cli.errors import ConfinerError

PARAMS = "hydra.sweeper.params"
_BASIC = "BasicSweeper"
_KEY = re.compile(r"[+~]*([^=@]+)")


@dataclass(frozen=True)
class SweepConfig:
    """How a config is swept.

    Attributes:
        is_sweep: whether it is a sweep without `-m`.
        params: the values of Hydra's basic sweeper by key, in Hydra's words: `{"seed": "1,2"}`.
            Those of another sweeper are its own affair.
    """

    is_sweep: bool = False
    params: Mapping[str, str] = field(default_factory=dict)

    def words(self, typed: Sequence[str]) -> list[str]:
        """The words that a sweep has with what was typed, which comes before the config's values.

        Raises:
            ConfinerError: prompts that cannot be told apart.
        """
        if not self.params:
            return list(typed)
        chosen = {_key(word) for word in typed}
        if chosen & set(PROMPT_KEYS):
            chosen.update(PROMPT_KEYS)
        words = []
        for key, value in self.params.items():
            if key not in chosen:
                words += _words(key, value)
        return [*words, *typed, f"{PARAMS}=null"]


def sweep_config(typed: Sequence[str], source: ConfigSource) -> SweepConfig:
    """What configs and the typed choices of groups say of sweeps.

    Raises:
        ConfinerError: a config that cannot be used.
    """
    choices = [word for word in typed if _is_choice(_key(word), source)]
    if not source.is_own and not any(_key(word).startswith("hydra") for word in choices):
        return SweepConfig()  # confiner's own configs say nothing; to compose takes a while
    node = hydra_settings(choices, source)
    is_basic = str(node.sweeper.get("_target_")).endswith(_BASIC)
    params = node.sweeper.get("params") if is_basic else None
    stated = {key: str(value) for key, value in (params or {}).items()}
    return SweepConfig(node.mode == RunMode.MULTIRUN, stated)


def job_words(words: Sequence[str]) -> list[list[str]]:
    """For each word of a sweep, as Hydra reads it, the words that the jobs have in its place.

    Raises:
        ConfinerError: a word that cannot be read.
    """
    return [_each(word) for word in words]


@readable_errors()
def _each(word: str) -> list[str]:
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return [word]
    key = override.get_key_element()
    return [f"{key}={text}" for text in override.sweep_string_iterator()]


def _is_choice(key: str, source: ConfigSource) -> bool:
    """Whether an override may bring settings of Hydra's."""
    return key in GROUPS or key.startswith("hydra") or source.has_group(key)


def _key(word: str) -> str:
    match = _KEY.match(word)
    return match[1] if match else word


def _words(key: str, value: str) -> list[str]:
    if key not in TEXT_KEYS:
        return [f"{key}={value}"]
    return [f"{key}={text}" for text in _texts(key, value.strip())]


def _texts(key: str, value: str) -> list[str]:
    """The texts of a sweep, verbatim: parted at commas as Hydra does it, without their quotes."""
    if "," not in value and value[:1] not in ("'", '"'):
        return [value]
    try:
        return [str(text) for text in values_of(f"{key}={value}")]
    except ConfinerError as error:
        raise ConfinerError(
            f"{PARAMS}.{key}={value} cannot be parted into texts",
            f'put each in double quotes, all in single ones: {key}: \'"a (b), c","d"\'',
        ) from error

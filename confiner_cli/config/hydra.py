"""The one door from Hydra: configs are composed here and leave as plain frozen values.

Nothing below this module sees a DictConfig. Imports no torch, so that `--cfg job` is quick.
"""

from __future__ import annotations

import copy
import functools
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from confiner_cli.config.bounds import did_you_mean
from confiner_cli.config.places import config_dir
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError

VERSION_BASE = "1.3"
RECORDED = "+recorded=run"
"""The override that puts recorded values over the configs' own and under the command line's."""
ONE_AT_A_TIME = threading.RLock()
"""Hydra keeps what it is doing in the process: a thread that composes or launches waits for others
to be done."""
_HINT = "confiner generate --cfg job prints all settings and their values"


@functools.cache
def schema() -> DictConfig:
    """The typed root that every config is merged into: catches unknown keys and wrong types.

    It is made once, as it takes a while: whoever changes it changes a copy.
    """
    root = OmegaConf.structured(Settings)
    _unlock(root)
    return cast(DictConfig, root)


def _unlock(node: DictConfig) -> None:
    # Frozen dataclasses make read-only nodes; Hydra still has to compose them.
    OmegaConf.set_readonly(node, None)
    for key in node:
        if not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig):
            _unlock(node[key])


def _register(recorded: Mapping[str, Any] | None) -> list[str]:
    """Make the schema and recorded values known to Hydra; the words that the values take."""
    store = ConfigStore.instance()
    store.store(name="schema", node=schema(), provider="confiner")
    if recorded is None:
        return []
    node = OmegaConf.create(dict(recorded))
    store.store(group="recorded", name="run", node=node, package="_global_", provider="confiner")
    return [RECORDED]


@contextmanager
def readable_errors() -> Iterator[None]:
    """What Hydra and OmegaConf have to say about a config, as two lines."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise _translated(error) from error


def _translated(error: Exception) -> ConfinerError:
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = [option for option in error.options if not option.startswith("_")]
        return ConfinerError(
            f"{group}={name} is unknown",
            f"{did_you_mean(name, options)}{group}= takes {', '.join(options)}",
        )
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    if lines[0].startswith("Ambiguous value"):
        return ConfinerError(
            lines[0], "add -m to try one value after another; a list is written key=[1,2]"
        )
    if "Could not override 'scheduler'" in lines[0]:
        return ConfinerError(lines[0], "list scheduler: before experts:, or inherit generate")
    key = re.search(r"full_key: (\S+)", str(cause))
    where = key[1] if key else getattr(error, "override", None)
    return ConfinerError(f"{where}: {lines[0]}" if where else lines[0], _HINT)


@readable_errors()
def settings_of(config: DictConfig) -> Settings:
    """Turn a composed config into frozen values, resolving interpolations once.

    Raises:
        ConfinerError: a key or type that the schema does not have.
    """
    # Merged once more because `+new=1` gets past the schema during composition.
    return cast(Settings, OmegaConf.to_object(OmegaConf.merge(schema(), config)))


@readable_errors()
def settings_from(recorded: Mapping[str, Any]) -> Settings:
    """Settings of recorded values alone: what they do not say is the schema's default.

    Raises:
        ConfinerError: a key or type that the schema does not have.
    """
    return settings_of(OmegaConf.create(dict(recorded)))


@readable_errors()
def compose(overrides: Sequence[str] = (), recorded: Mapping[str, Any] | None = None) -> DictConfig:
    """Compose a config as the command line would. Hydra is as it was afterwards, but for its store
    of configs, which has our schema and the last record.

    Args:
        overrides: as Hydra reads them.
        recorded: values of a record, over the configs' own and under the overrides.

    Raises:
        ConfinerError: an override that cannot be read, or that the schema or the groups do not
            have.
    """
    with ONE_AT_A_TIME:
        words = [*_register(recorded), *overrides]
        with hydra.initialize_config_dir(str(config_dir()), version_base=VERSION_BASE):
            return hydra.compose("generate", words)


def settings_with(overrides: Sequence[str], recorded: Mapping[str, Any] | None = None) -> Settings:
    """The settings that overrides, as Hydra reads them, come to. Raises as `compose`."""
    return settings_of(compose(overrides, recorded))


@dataclass(frozen=True)
class HydraJob:
    """A job as Hydra hands it over: its config, composed, and where it belongs in a sweep."""

    config: DictConfig

    @property
    def prompt(self) -> str:
        """As it was asked for, also where the rest of the config cannot be used."""
        return str(self.config.prompt)

    def settings(self) -> Settings:
        """The config as frozen values. Raises as `settings_of`."""
        return settings_of(self.config)

    def snapshots(self) -> dict[str, str]:
        """What Hydra knows of the job that runs, as the files of `.hydra/`."""
        hydra_config = HydraConfig.get()
        return {
            "config.yaml": OmegaConf.to_yaml(self.config),
            "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra_config})),
            "overrides.yaml": OmegaConf.to_yaml(hydra_config.overrides.task),
        }

    def place(self) -> tuple[str, int]:
        """The sweep's folder and the number of the job that runs."""
        hydra_config = HydraConfig.get()
        return str(hydra_config.sweep.dir), int(hydra_config.job.num)


def launch(
    arguments: Sequence[str],
    task: Callable[[HydraJob], Any],
    recorded: Mapping[str, Any] | None = None,
) -> None:
    """Let Hydra run a task as its command line would: once, or for each job of a sweep.

    Args:
        arguments: Hydra's flags, then overrides.
        task: carries a job out. It pickles where a launcher sends it elsewhere.
        recorded: as in `compose`.

    Raises:
        ConfinerError: what Hydra has to say about the arguments.
    """
    main = hydra.main(
        version_base=VERSION_BASE, config_path=str(config_dir()), config_name="generate"
    )
    with ONE_AT_A_TIME, readable_errors():
        words = [*arguments, *_register(recorded)]
        with _as_arguments(words), _raising():
            main(functools.partial(_hand_over, task))()


def _hand_over(task: Callable[[HydraJob], Any], config: DictConfig) -> Any:
    return task(HydraJob(config))


@contextmanager
def _as_arguments(words: Sequence[str]) -> Iterator[None]:
    """Hydra reads `sys.argv`; it is put back afterwards."""
    before, sys.argv = sys.argv, ["confiner", *words]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _raising() -> Iterator[None]:
    """Hydra raises its errors instead of printing them; the person's own setting is put back."""
    chosen = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if chosen is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = chosen


@readable_errors()
def values_of(word: str) -> list[Any]:
    """The values that an override, as Hydra reads it, gives its key: several in a sweep.

    Raises:
        ConfinerError: it cannot be read.
    """
    override = OverridesParser.create().parse_override(word)
    return list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]


@readable_errors()
def as_setting(key: str, value: Any) -> Any:
    """A value as the setting has it: `yes` is True where the setting is true or false.

    Raises:
        ConfinerError: the setting cannot have it.
    """
    settings = copy.deepcopy(schema())
    OmegaConf.update(settings, key, value)
    return OmegaConf.select(settings, key)

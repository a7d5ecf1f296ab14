"""The one door from Hydra: configs are composed here and leave as plain frozen values.

Nothing below this module sees a DictConfig. Imports no torch, so that `--cfg job` is quick.
"""

from __future__ import annotations

import copy
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from confiner_cli.config.hydra_errors import readable_errors
from confiner_cli.config.hydra_loader import VERSION_BASE, initialized
from confiner_cli.config.own_root import check_hydra, check_root
from confiner_cli.config.places import OURS, ConfigSource, config_dir
from confiner_cli.config.schema import Settings
from confiner_cli.config.typed_lists import check_entries, open_lists, stated

RECORDED = "+recorded=run"
"""The override that puts recorded values over the configs' own and under the command line's."""
ONE_AT_A_TIME = threading.RLock()
"""Hydra keeps what it is doing in the process: a thread that composes or launches waits for others
to be done."""


@functools.cache
def schema() -> DictConfig:
    """The typed root that every config is merged into: catches unknown keys and wrong types.

    It is made once, as it takes a while: whoever changes it changes a copy.
    """
    root = OmegaConf.structured(Settings)
    _unlock(root)
    return cast(DictConfig, root)


@functools.cache
def _open_schema() -> DictConfig:
    """The same for Hydra, which cannot set a value inside an entry of a typed list."""
    root = copy.deepcopy(schema())
    open_lists(root)
    return root


def _unlock(node: DictConfig) -> None:
    # Frozen dataclasses make read-only nodes; Hydra still has to compose them.
    OmegaConf.set_readonly(node, None)
    for _, child in stated(node, DictConfig):
        _unlock(child)


def _register(recorded: Mapping[str, Any] | None) -> list[str]:
    """Make the schema and recorded values known to Hydra; the words that the values take."""
    store = ConfigStore.instance()
    store.store(name="schema", node=_open_schema(), provider="confiner")
    _forget_namesakes(store)
    if recorded is None:
        return []
    node = OmegaConf.create(dict(recorded))
    store.store(group="recorded", name="run", node=node, package="_global_", provider="confiner")
    return [RECORDED]


def _forget_namesakes(store: ConfigStore) -> None:
    """Take from Hydra what plugins of others call as our launchers: it would merge the two."""
    Plugins.instance()  # imports those that are installed, which brings theirs
    launchers = store.repo.get("hydra", {}).get("launcher", {})
    for name in OURS.choices("hydra/launcher"):
        launchers.pop(f"{name}.yaml", None)


@readable_errors()
def settings_of(config: DictConfig) -> Settings:
    """Turn a composed config into frozen values, resolving interpolations once.

    Raises:
        ConfinerError: a key or type that the schema does not have.
    """
    check_entries(schema(), config)
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
def compose(
    overrides: Sequence[str] = (),
    recorded: Mapping[str, Any] | None = None,
    source: ConfigSource = OURS,
) -> DictConfig:
    """Compose a config as the command line would. Hydra is as it was afterwards, but for its store
    of configs, which has our schema and the last record.

    Args:
        overrides: as Hydra reads them.
        recorded: values of a record, over the configs' own and under the overrides.
        source: the YAML files.

    Raises:
        ConfinerError: an override that cannot be read, or that the schema or the groups do not
            have; a config of the person's own that cannot be used.
    """
    with ONE_AT_A_TIME:
        words = [*_register(recorded), *overrides]
        with initialized(source) as loader:
            if source.is_own:
                check_root(source, loader.compute_defaults_list(source.root, words, RunMode.RUN))
            config = hydra.compose(source.root, words, return_hydra_config=True)
            check_hydra(config.hydra)
    with open_dict(config):
        del config["hydra"]
    return config


@readable_errors()
def hydra_settings(choices: Sequence[str], source: ConfigSource) -> DictConfig:
    """Hydra's own settings, as configs and the choices of groups bring them, for a sweep or not.

    Args:
        choices: overrides, as Hydra reads them, of groups and of `hydra.`; several values of a
            group are left open.
        source: the YAML files.

    Raises:
        ConfinerError: as `compose`.
    """
    with ONE_AT_A_TIME, initialized(source) as loader:
        return cast(DictConfig, sweep_root_config(choices, None, source, loader).hydra)


def sweep_root_config(
    words: Sequence[str],
    recorded: Mapping[str, Any] | None,
    source: ConfigSource,
    loader: ConfigLoaderImpl,
) -> DictConfig:
    """The config that a sweep begins with, Hydra's own node in it; what is swept is left open.

    Args:
        words: overrides, as Hydra reads them.
        recorded: as `compose` has it.
        source: as `compose` has it.
        loader: as `initialized` has it.

    Raises:
        ConfinerError: a root config that does not inherit ours, or that writes files of its own.
    """
    words = [*_register(recorded), *words]
    check_root(source, loader.compute_defaults_list(source.root, words, RunMode.MULTIRUN))
    composed = loader.load_configuration(
        source.root, words, RunMode.MULTIRUN, validate_sweep_overrides=False
    )
    check_hydra(composed.hydra)
    return composed


def settings_with(
    overrides: Sequence[str],
    recorded: Mapping[str, Any] | None = None,
    source: ConfigSource = OURS,
) -> Settings:
    """The settings that overrides, as Hydra reads them, come to. Raises as `compose`."""
    return settings_of(compose(overrides, recorded, source))


@dataclass(frozen=True)
class HydraJob:
    """The job of a single run as Hydra hands it over: its config, composed."""

    config: DictConfig

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


def launch(
    arguments: Sequence[str],
    task: Callable[[HydraJob], Any],
    recorded: Mapping[str, Any] | None = None,
    source: ConfigSource = OURS,
) -> None:
    """Let Hydra run a task as its command line would, without `-m`.

    Args:
        arguments: Hydra's flags, then overrides.
        task: carries the job out.
        recorded: as in `compose`.
        source: as in `compose`.

    Raises:
        ConfinerError: what Hydra has to say about the arguments.
    """
    folder = [] if source.folder is None else ["--config-dir", str(source.folder)]
    main = hydra.main(
        version_base=VERSION_BASE, config_path=str(config_dir()), config_name=source.root
    )
    with ONE_AT_A_TIME, readable_errors():
        words = [*folder, *arguments, *_register(recorded)]
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
    if not override.is_sweep_override():
        return [override.value()]
    values = list(override.sweep_iterator())
    return [value.text if isinstance(value, QuotedString) else value for value in values]


@readable_errors()
def as_setting(key: str, value: Any) -> Any:
    """A value as the setting has it: `yes` is True where the setting is true or false.

    Raises:
        ConfinerError: the setting cannot have it.
    """
    settings = copy.deepcopy(schema())
    OmegaConf.update(settings, key, value)
    return OmegaConf.select(settings, key)

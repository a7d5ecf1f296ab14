"""The one door from Hydra: where configs live, the schema they are held to, and plain frozen values behind it.

Nothing below this module sees a DictConfig. Imports no torch, so that `--cfg job` is quick.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from confiner_cli.config.bounds import did_you_mean
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError

_HINT = "confiner generate --cfg job prints all settings and their values"


def config_dir() -> Path:
    """The absolute folder of the YAML files: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    # The checkout first: an editable install has a copy inside the package that goes stale.
    for folder in (package.parent / "configs", package / "configs"):
        if (folder / "generate.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no configs beside or inside {package}")


def schema() -> DictConfig:
    """The typed root that every config is merged into: catches unknown keys and wrong types."""
    root = OmegaConf.structured(Settings)
    _unlock(root)
    return cast(DictConfig, root)


def _unlock(node: DictConfig) -> None:
    # Frozen dataclasses make read-only nodes; Hydra still has to compose them.
    OmegaConf.set_readonly(node, None)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            _unlock(child)


def register() -> None:
    """Make the schema known to Hydra as `schema`."""
    ConfigStore.instance().store(name="schema", node=schema(), provider="confiner")


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
def compose(overrides: Sequence[str] = (), config_name: str = "generate") -> DictConfig:
    """Compose a config as the command line would, without touching Hydra's global state.

    Raises:
        ConfinerError: an override that cannot be read, or that the schema or the groups do not have.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.types import RunMode

    register()
    loader = ConfigLoaderImpl(config_search_path=create_config_search_path(str(config_dir())))
    config = loader.load_configuration(config_name, list(overrides), run_mode=RunMode.RUN)
    plain: dict[Any, Any] = {
        key: value for key, value in config.items_ex(resolve=False) if key != "hydra"
    }
    return OmegaConf.create(plain)

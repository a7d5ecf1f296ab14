"""The one door from Hydra: where configs live, the schema they are held to, and plain frozen values behind it.

Nothing below this module sees a DictConfig. Imports no torch, so that `--cfg job` is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from confiner_cli.settings import Settings


def config_dir() -> Path:
    """The absolute folder of the YAML files: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
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


def settings_of(config: DictConfig) -> Settings:
    """Turn a composed config into frozen values, resolving interpolations once.

    Raises:
        omegaconf.errors.OmegaConfBaseException: a key or type that the schema does not have.
    """
    # Merged once more because `+new=1` gets past the schema during composition.
    return cast(Settings, OmegaConf.to_object(OmegaConf.merge(schema(), config)))


def compose(overrides: Sequence[str] = (), config_name: str = "generate") -> DictConfig:
    """Compose a config as the command line would, without touching Hydra's global state."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.types import RunMode

    register()
    loader = ConfigLoaderImpl(config_search_path=create_config_search_path(str(config_dir())))
    config = loader.load_configuration(config_name, list(overrides), run_mode=RunMode.RUN)
    plain: dict[Any, Any] = {key: value for key, value in config.items_ex(resolve=False) if key != "hydra"}
    return OmegaConf.create(plain)

"""What a launcher's config states, held to the launcher's settings."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from confiner_cli.errors import ConfinerError, first_line

Settings = TypeVar("Settings")


def stated_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The settings that a config's values, by name, come to.

    Raises:
        ConfinerError: a value of the wrong type.
    """
    try:
        typed = OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.create(dict(values)))
        return cast("Settings", OmegaConf.to_object(typed))
    except OmegaConfBaseException as error:
        raise ConfinerError(
            f"hydra.launcher.{error.full_key}: {first_line(error)}",
            "confiner generate --cfg hydra, with the launcher, prints its settings",
        ) from error


def needed(module: str, launcher: str) -> ModuleType:
    """Import what a launcher stands on.

    Raises:
        ConfinerError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ConfinerError(
            f"hydra/launcher={launcher} needs {module}, which is not installed",
            f'pip install "confiner[{launcher}]"',
        ) from error

"""Hydra with confiner's YAML files and a person's own on its search path, as `--config-dir` has it.

Hydra's compose API knows one folder only; its command line knows two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra

from confiner_cli.config.places import ConfigSource, config_dir
from confiner_cli.errors import ConfinerError

VERSION_BASE = "1.3"


@contextmanager
def initialized(source: ConfigSource) -> Iterator[ConfigLoaderImpl]:
    """Hydra's loader for these files. Hydra is as it was afterwards.

    Raises:
        ConfinerError: one of the person's files is no UTF-8.
    """
    with hydra.initialize_config_dir(str(config_dir()), version_base=VERSION_BASE):
        loader = cast(ConfigLoaderImpl, GlobalHydra.instance().config_loader())
        if source.folder is not None:
            path = loader.get_search_path()
            before = SearchPathQuery(provider="schema")  # as Hydra's command line does it
            path.prepend("command-line", f"file://{source.folder}", anchor=before)
            loader.repository = ConfigRepository(path)
        try:
            yield loader
        except UnicodeDecodeError as error:
            raise _no_utf8(source) from error


def _no_utf8(source: ConfigSource) -> ConfinerError:
    """Which file it is: Python names the byte alone."""
    names = [str(path) for path in source.files() if not _is_utf8(path.read_bytes())]
    return ConfinerError(f"{' and '.join(names)} cannot be read: no UTF-8", "save as UTF-8")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True

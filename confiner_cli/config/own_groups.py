"""What the files of a person's own groups set: `+experiment=heart` chooses all of its keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import DefaultsList
from hydra.types import RunMode
from omegaconf import OmegaConf

from confiner_cli.config.flatten import flatten
from confiner_cli.config.hydra import values_of
from confiner_cli.config.hydra_errors import readable_errors
from confiner_cli.config.hydra_loader import initialized
from confiner_cli.config.overrides import GROUPS, Overrides, Word
from confiner_cli.errors import ConfinerError


@readable_errors()
def keys_of_own_groups(overrides: Overrides) -> frozenset[str]:
    """The dotted keys that own groups set, and the groups that they choose: `scheduler`.

    Raises:
        ConfinerError: a sweep over such a group, whose jobs would set different keys.
    """
    source = overrides.source
    own = [word for word in overrides.words if source.has_group(word.key)]
    chosen = [word for word in own if word.key not in GROUPS and word.mark != "~"]
    if not chosen:
        return frozenset()
    for word in chosen:
        _refuse_sweep(word)
    words = [word.text for word in overrides.words if word in chosen or word.key in GROUPS]
    with initialized(source) as loader:
        listed = loader.compute_defaults_list(source.root, words, RunMode.RUN)
        return frozenset(_keys(loader, listed, [word.key for word in chosen]))


def _refuse_sweep(word: Word) -> None:
    if len(values_of(word.text)) > 1:
        raise ConfinerError(
            f"from= does not go with a sweep over {word.key}=",
            f"name one: +{word.key}={(word.value or '').partition(',')[0]}",
        )


def _keys(loader: ConfigLoaderImpl, listed: DefaultsList, groups: Sequence[str]) -> Iterator[str]:
    files = _files(listed, groups)
    for default in listed.defaults:
        if default.config_path in files:
            prefix = f"{default.package}." if default.package else ""
            yield from (f"{prefix}{key}" for key in _content(loader, default.config_path))
    for key, choice in listed.overrides.override_metadata.items():
        if choice.containing_config_path in files:
            yield key.partition("@")[0].replace("/", ".")


def _content(loader: ConfigLoaderImpl, file: str | None) -> dict[str, Any]:
    """The leaves of a config file, without its defaults list."""
    found = loader.repository.load_config(file or "")
    content: Any = OmegaConf.to_container(found.config, resolve=False) if found else {}
    return flatten(content) if isinstance(content, dict) else {}


def _files(listed: DefaultsList, groups: Sequence[str]) -> set[str]:
    """The configs of these groups, and those that they bring by their own defaults lists."""
    files: set[str] = set()
    before = -1
    while len(files) > before:  # a config may come before the one that brings it
        before = len(files)
        for default in listed.defaults:
            path = default.config_path or ""
            if default.parent in files or path.rpartition("/")[0] in groups:
                files.add(path)
    return files

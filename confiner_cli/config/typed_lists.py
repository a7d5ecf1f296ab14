"""Lists with typed entries, as `loras`: OmegaConf neither sets a value inside an entry of a frozen
type nor says in which entry a value is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from confiner_cli.config.bounds import did_you_mean
from confiner_cli.errors import ConfinerError

Node = TypeVar("Node", DictConfig, ListConfig)


def open_lists(node: DictConfig) -> None:
    """Let the entries of all lists in a schema have any keys and values."""
    for _, entries in stated(node, ListConfig):
        entries._metadata.element_type = Any
    for _, child in stated(node, DictConfig):
        open_lists(child)


def check_entries(schema: DictConfig, config: DictConfig) -> None:
    """Hold the entries of a config's lists to the schema's types.

    Raises:
        ConfinerError: a key or a value that an entry cannot have, with its place.
    """
    for key, kind in _typed_lists(schema, prefix=""):
        found = OmegaConf.select(config, key, throw_on_missing=False)
        if isinstance(found, ListConfig):
            for number, entry in enumerate(found):
                _check_entry(f"{key}.{number}", kind, entry)


def stated(node: DictConfig, kind: type[Node]) -> Iterator[tuple[str, Node]]:
    """The nodes of a kind right below one, by name."""
    for key in node:
        if not OmegaConf.is_missing(node, key) and isinstance(node[key], kind):
            yield str(key), node[key]


def _typed_lists(node: DictConfig, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, entries in stated(node, ListConfig):
        if hasattr(entries._metadata.element_type, "__dataclass_fields__"):
            yield prefix + name, entries._metadata.element_type
    for name, child in stated(node, DictConfig):
        yield from _typed_lists(child, f"{prefix}{name}.")


def _check_entry(key: str, kind: Any, entry: Any) -> None:
    names = list(kind.__dataclass_fields__)
    form = f"{key}={{{','.join(f'{name}:...' for name in names)}}}"
    if not isinstance(entry, DictConfig):
        raise ConfinerError(f"{key}={entry} is no entry with {', '.join(names)}", form)
    for name in map(str, entry):
        if name not in names:
            near = did_you_mean(name, names)
            raise ConfinerError(f"there is no setting '{key}.{name}'", f"{near}{form}")
    try:
        OmegaConf.merge(OmegaConf.structured(kind), entry)
    except OmegaConfBaseException as error:
        name = error.key
        raise ConfinerError(f"{key}.{name}: {str(error).splitlines()[0]}", form) from error

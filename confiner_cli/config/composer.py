"""The settings of many jobs, quickly: Hydra composes one of those that choose the same configs.

To compose takes a quarter of a second. In the other jobs only the values are other ones, and these
are set as Hydra sets them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeAlias

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from confiner_cli.config.hydra import compose, settings_of
from confiner_cli.config.hydra_errors import readable_errors
from confiner_cli.config.overrides import GROUPS
from confiner_cli.config.places import OURS, ConfigSource
from confiner_cli.config.schema import Settings
from confiner_cli.config.yaml_texts import YamlTexts

MOST_KINDS = 64
"""Configs that are kept."""
Kind: TypeAlias = tuple[str, ...]
"""What a config is composed of: its choices, and the keys of the values that it is given."""


@dataclass(frozen=True)
class Composed:
    """A job's config, and the settings that it comes to. The config is the next job's, too: it
    changes when another one is composed.
    """

    config: DictConfig
    settings: Settings


class Composer:
    """Composes the jobs of one sweep.

    Args:
        recorded, source: as `hydra.compose` has them.
    """

    def __init__(
        self, recorded: Mapping[str, Any] | None = None, source: ConfigSource = OURS
    ) -> None:
        self._recorded = recorded
        self._source = source
        self._kinds: dict[Kind, Composed] = {}
        self._texts = YamlTexts()

    def chooses(self, word: str) -> bool:
        """Whether a word chooses configs, or may in other ways decide what a value can be."""
        return not self._is_value(_parsed([word])[0])

    def compose(self, words: Sequence[str]) -> Composed:
        """A job's config and settings, equal to those that Hydra composes of all its words.

        Raises:
            ConfinerError: as `hydra.compose` and `hydra.settings_of`.
        """
        overrides = _parsed(words)
        values = [each for each in overrides if self._is_value(each)]
        kind = tuple(
            str(each.key_or_group if self._is_value(each) else each.input_line)
            for each in overrides
        )
        known = self._kinds.get(kind)
        changed = None if known is None else _changed(known, values)
        if changed is None:  # Hydra has to say what is wrong with it, if it is
            config = compose(list(words), self._recorded, self._source)
            changed = Composed(config, settings_of(config))
            if not _interpolates(config):
                self._keep(kind, changed)
        return changed

    def yaml_of(self, composed: Composed) -> str:
        """A job's config as YAML."""
        return self._texts(composed.config)

    def _keep(self, kind: Kind, composed: Composed) -> None:
        while len(self._kinds) >= MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]
        self._kinds[kind] = composed

    def _is_value(self, override: Override) -> bool:
        """Whether an override changes a value that is there, whichever configs there are."""
        plain = not (override.is_add() or override.is_force_add() or override.is_delete())
        key = override.key_or_group
        is_group = key in GROUPS or self._source.has_group(key)
        is_scalar = not isinstance(override.value(), dict | list)
        return plain and is_scalar and override.package is None and not is_group


@readable_errors()
def _parsed(words: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(words))


def _changed(composed: Composed, values: Sequence[Override]) -> Composed | None:
    """With other values for the keys that the last job has set; None if they cannot be had."""
    config, settings = composed.config, composed.settings
    try:
        for override in values:
            key = override.key_or_group
            OmegaConf.update(config, key, override.value(), merge=True)
            if OmegaConf.is_interpolation(*_parent(config, key)):
                return None
            settings = _with(settings, key.split("."), OmegaConf.select(config, key))
    except (OmegaConfBaseException, TypeError):
        return None
    return Composed(config, settings)


def _parent(config: DictConfig, key: str) -> tuple[Any, str]:
    """The node that holds a key, and its own name there."""
    above, _, name = key.rpartition(".")
    return (OmegaConf.select(config, above) if above else config), name


def _with(node: Any, path: Sequence[str], value: Any) -> Any:
    """Settings with one value changed.

    Raises:
        TypeError: there is no such setting.
    """
    if not path:
        return value
    if not is_dataclass(node) or path[0] not in {entry.name for entry in fields(node)}:
        raise TypeError(f"no setting {'.'.join(path)}")
    changed = _with(getattr(node, path[0]), path[1:], value)
    return replace(node, **{path[0]: changed})  # type: ignore[type-var]


def _interpolates(config: DictConfig) -> bool:
    """Whether values of a config may depend on others."""
    return "${" in str(OmegaConf.to_container(config, resolve=False))

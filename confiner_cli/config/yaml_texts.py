"""Configs as YAML, as OmegaConf writes them: of many that are nearly alike what differs, anew.

To write a config takes longer than all else that a job of a sweep needs before it begins.
"""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

MOST_KNOWN = 256
"""Entries that are kept: a config has about thirty."""


class YamlTexts:
    """Writes configs and keeps the texts of their entries."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def __call__(self, config: DictConfig) -> str:
        """The text that `OmegaConf.to_yaml` has for a config."""
        entries: Any = OmegaConf.to_container(config, enum_to_str=True)
        return "".join(self._entry(str(name), value) for name, value in entries.items())

    def _entry(self, name: str, value: Any) -> str:
        key = name, repr(value)
        if key not in self._known:
            while len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = OmegaConf.to_yaml({name: value})
        return self._known[key]

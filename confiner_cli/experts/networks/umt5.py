"""UMT5's encoder (arXiv 2304.09151), transformers' own. It takes seconds to import: ask late."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

from transformers.models.umt5.configuration_umt5 import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

from confiner_cli.experts.networks.umt5_config import READ


class UMT5TextModel(UMT5EncoderModel):  # type: ignore[misc]
    """The encoder of a config.

    Attributes:
        TIED: its table of words is known by two names, and a file may have it under the second one
            alone.

    Args:
        config: its sizes.
    """

    TIED = MappingProxyType({"encoder.embed_tokens.weight": "shared.weight"})

    def __init__(self, config: UMT5Config) -> None:
        super().__init__(config)
        self.encoder.embed_tokens = self.shared

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The encoder of a `config.json`, of which it reads what `READ` has."""
        return cls(UMT5Config(**{name: config[name] for name in READ if name in config}))

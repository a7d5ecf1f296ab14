"""Networks with their adapters, and what merges those imported where there are some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def adapted(module: Module, network: str, loras: Sequence[tuple[Path, float]]) -> Module:
    """The network, frozen, with what its adapters have for it merged into its weights.

    Args, raises: as `lora.merge_loras`.
    """
    if loras:
        # peft takes torch's compiler and transformers along, which takes seconds.
        from confiner_cli.experts.lora import merge_loras

        merge_loras(module, network, loras)
    return module.eval().requires_grad_(False)

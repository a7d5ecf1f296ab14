"""In which precision each tensor of a network is: some are in float32 whatever the others are in.

Classes of diffusers and transformers say which (`_keep_in_fp32_modules`), and their
`from_pretrained` honours it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

KEPT, KEPT_STRICTLY = "_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"


@dataclass(frozen=True)
class Precision:
    """Where the tensors of a network are, and in which precision.

    Attributes:
        device: of all of them.
        dtype: of those that hold floating-point numbers.
        is_kept: whether the one of this name is in float32 instead.
        buffers: the names of those that are no parameters.
    """

    device: torch.device
    dtype: torch.dtype
    is_kept: Callable[[str], bool]
    buffers: frozenset[str]

    def turned(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor out of a file as the network has it: itself where it may stay in the file.

        That is where nothing changes, for parameters in the network's own precision. Of the others
        none stays: they are few, and the smallest one would keep all of the file mapped.
        """
        kept = self.is_kept(name)
        dtype = torch.float32 if kept else self.dtype
        made = tensor.to(self.device, dtype if tensor.is_floating_point() else tensor.dtype)
        return made.clone() if made is tensor and (kept or name in self.buffers) else made


def precision_of(module: nn.Module, device: torch.device, dtype: torch.dtype) -> Precision:
    """The precision of a network that is to compute in `dtype`.

    As `from_pretrained(dtype=...)` has it. diffusers (`load_model_dict_into_meta`) keeps tensors in
    float32 by a part of their names, between dots. transformers (`_get_dtype_plan`) does so by a
    pattern anywhere in it, and in two lists: one holds against float16 alone, the strict one
    against bfloat16, too. A class that has no strict list is read as diffusers'.
    """
    buffers = frozenset(name for name, _ in module.named_buffers())
    return Precision(device, dtype, _is_kept(module, dtype), buffers)


def _is_kept(module: nn.Module, dtype: torch.dtype) -> Callable[[str], bool]:
    kept = _listed(getattr(module, KEPT, None))
    if dtype == torch.float32:
        return lambda name: False  # none differs from the others
    if not hasattr(module, KEPT_STRICTLY):
        return lambda name: not kept.isdisjoint(name.split("."))
    strictly = _listed(getattr(module, KEPT_STRICTLY))
    patterns = strictly | kept if dtype == torch.float16 else strictly
    searches = [re.compile(pattern.replace("*", ".*")).search for pattern in patterns]
    return lambda name: any(search(name) for search in searches)


def _listed(names: Any) -> set[str]:
    return {names} if isinstance(names, str) else set(names or ())

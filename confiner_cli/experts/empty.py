"""Networks made without numbers, which are read from files afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from accelerate import init_empty_weights
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

DRAWN = frozenset({
    init.constant_, init.kaiming_uniform_, init.normal_, init.uniform_,
    Tensor.fill_, Tensor.normal_, Tensor.uniform_, Tensor.zero_,
})  # fmt: skip
"""What gives new parameters their first values."""


@contextmanager
def without_parameters() -> Iterator[None]:
    """In the body networks get no parameters, only what is computed of their config.

    Their parameters are on the meta device, where nothing takes memory.
    """
    with init_empty_weights(), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    """On the meta device there is nothing to draw, and torch would import its compiler for it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in DRAWN:
            tensor = args[0] if args else named["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **named)

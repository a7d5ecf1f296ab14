"""torch and diffusers imported without what diffusers takes along and nothing here needs.

Beside its networks diffusers imports, where they are installed, peft, with it transformers and
torch.distributed, scipy, torchvision, and torch's compiler with sympy: twice what torch itself
takes. Whoever needs them (LoRAs, `torch.compile`) imports them afterwards as ever. That is for a
process of confiner's own: diffusers misses for good what it has not found.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

OWN_PROCESS = ContextVar("own_process", default=False)
"""Whether the process is confiner's own, as `cli.entry` says: nobody else uses diffusers in it."""
OPTIONAL = ("peft", "transformers", "torch._dynamo", "scipy", "torchvision")
"""What diffusers asks for and does without."""
NEEDED = ("diffusers.models.unets", "diffusers.models.autoencoders")


def import_libraries() -> None:
    """Import what a run needs of torch and diffusers, and no more; elsewhere nothing is changed."""
    if not OWN_PROCESS.get() or "diffusers" in sys.modules:
        return
    with _nothing_collected():
        importlib.import_module("torch")
        try:
            with declined(*OPTIONAL), _compiler_untouched():
                _import_needed()
        except ImportError:  # of another package that diffusers takes along, and that needs them
            _import_needed()


def _import_needed() -> None:
    for name in NEEDED:
        importlib.import_module(name)


@contextmanager
def declined(*names: str) -> Iterator[None]:
    """In the body these modules, if they are not there yet, are not to be had.

    It is Python's own way: `import` finds None in `sys.modules` and raises ModuleNotFoundError.
    """
    absent = [name for name in names if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del modules[name]


@contextmanager
def _compiler_untouched() -> Iterator[None]:
    """In the body functions that are not to be compiled are marked when they are first called.

    That is how torch marks its own. `torch.compiler.disable` imports the compiler to mark them.
    """
    from torch import _compile, compiler

    def disable(fn: Callable[..., Any] | None = None, recursive: bool = True, **_: Any) -> Any:
        return _compile._disable_dynamo(fn, recursive)

    eager, compiler.disable = compiler.disable, disable
    try:
        yield
    finally:
        compiler.disable = eager


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """In the body no garbage is looked for: what is imported stays, and there is much of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()

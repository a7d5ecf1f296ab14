"""Networks compiled by torch.compile, where a person asks for it: `compile=`.

A compiled network is one graph for all timesteps, since `t` is a tensor, and for all numbers of
frames, since their dimension is marked. Another size of frames is another graph; and on a CPU torch
chooses convolutions by whether there are 16 images, and diffusers by whether there are 64. What the
compiler makes is kept on disk, so later processes have to trace the network, and no more.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from confiner_cli import progress
from confiner_cli.errors import ConfinerError, FailedError, first_line

if TYPE_CHECKING:  # not for those who only read the table
    import torch
    from torch import nn

REGIONAL = "regional"
MODES = (False, True, REGIONAL)
"""What `compile=` takes: nothing, whole networks, the blocks that they repeat."""
BLOCKS = ("BasicTransformerBlock", "TransformerBlock")
"""The classes of blocks that UNets repeat with few differences: diffusers', and LaVie's."""
CACHE = "TORCHINDUCTOR_CACHE_DIR"
CPU_COMPILERS = ("g++", "clang++")
GRAPHS = 64
"""So many a function may have: UNets share the classes of their blocks, and each width is one."""
Forward = Callable[..., Any]
Told = Callable[[float], None]


def check_compiler(mode: bool | str, device: torch.device) -> None:
    """Hold what was asked for against what the machine has, before anything is loaded.

    Raises:
        ConfinerError: there is nothing to compile with.
    """
    if mode is False:
        return
    if device.type == "cpu":
        named = os.environ.get("CXX")
        if not any(map(shutil.which, (named,) if named else CPU_COMPILERS)):
            raise ConfinerError(
                f"compile={_word(mode)} needs a C++ compiler, and there is none here",
                "install g++ (Debian's package g++), or compile=false",
            )
    elif device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise ConfinerError(
            f"compile={_word(mode)} needs triton, and it is not installed",
            "pip install triton, or compile=false",
        )


def compiled(
    module: nn.Module,
    mode: bool | str,
    frames: int,
    what: str,
    told: Told,
    backend: Any = "inductor",
) -> nn.Module:
    """The module, compiled when it is first called.

    Args:
        module: changed in place; it may still be moved.
        mode: one of `MODES`.
        frames: the dimension of its first argument that frames are in.
        what: its name, for messages.
        told: is told the seconds of each call in which something was compiled.
        backend: the compiler.
    """
    if mode is False:
        return module
    _keep_what_is_compiled()
    if mode == REGIONAL:
        for block in _blocks(module):
            block.forward = _marked(_compiled(block, backend), (0, 1))
    else:
        module.forward = _marked(_compiled(module, backend), (frames,))
    module.forward = _watched(module.forward, what, told)
    return module


def _keep_what_is_compiled() -> None:
    """In a folder that outlives a restart, unless the person has named one."""
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # torch names its own, below the folder for temporary files, when it is first asked.
    if os.environ.get(CACHE) in (None, default_cache_dir()):
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home) / "confiner" / "inductor"
        with suppress(OSError):  # a home that cannot be written to: torch's own will do
            folder.mkdir(parents=True, exist_ok=True)
            os.environ[CACHE] = str(folder)


def _blocks(module: nn.Module) -> list[nn.Module]:
    return [block for block in module.modules() if type(block).__name__ in BLOCKS]


def _compiled(module: nn.Module, backend: Any) -> Forward:
    import torch

    return torch.compile(  # type: ignore[call-overload,no-any-return]
        module.forward, backend=backend, recompile_limit=GRAPHS
    )


def _marked(forward: Forward, dims: tuple[int, ...]) -> Forward:
    """The same; these dimensions of the features, and of a text beside them, may have any size."""
    from torch import Tensor, _dynamo

    def marked(*arguments: Any, **others: Any) -> Any:
        # Without it the first number of frames would be taken for the only one.
        given = [each for each in (*arguments, *others.values()) if isinstance(each, Tensor)]
        for tensor in given:
            if tensor.ndim == given[0].ndim:
                _dynamo.maybe_mark_dynamic(tensor, dims)
        return forward(*arguments, **others)

    return marked


def _watched(forward: Forward, what: str, told: Told) -> Forward:
    """The same; it says when something was compiled, and how long that took."""
    from torch._dynamo.exc import TorchDynamoException

    progress.say(f"compiling {what}: the first pass takes a minute or more, later processes less")

    def watched(*arguments: Any, **others: Any) -> Any:
        before, started = _graphs(), monotonic()
        try:
            result = forward(*arguments, **others)
        except TorchDynamoException as error:
            raise FailedError(
                f"{what} cannot be compiled: {first_line(error)}", "compile=false"
            ) from error
        if _graphs() > before:
            seconds = monotonic() - started
            told(seconds)
            progress.say(f"compiled {what}: {seconds:.1f} s")
        return result

    return watched


def _graphs() -> int:
    """How many this process has compiled."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def _word(mode: bool | str) -> str:
    return str(mode).lower()

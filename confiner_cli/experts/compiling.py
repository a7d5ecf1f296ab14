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
import sys
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from confiner_cli import progress
from confiner_cli.errors import ConfinerError, FailedError, first_line
from confiner_cli.files import own_cache

if TYPE_CHECKING:  # not for those who only read the table
    import torch
    from torch import nn

REGIONAL = "regional"
MODES = (False, True, REGIONAL)
"""What `compile=` takes: nothing, whole networks, the blocks that they repeat."""
BLOCKS = ("BasicTransformerBlock", "TransformerBlock", "WanTransformerBlock")
"""The classes of blocks that networks repeat with few differences: UNets' of diffusers, LaVie's,
and Wan's."""
CACHE = "TORCHINDUCTOR_CACHE_DIR"
CPU_COMPILER = "clang++" if sys.platform == "darwin" else "g++"
"""What torch takes unless CXX says otherwise."""
C_COMPILERS = ("gcc", "clang")
"""What triton takes, the first that is there, unless CC says otherwise."""
GRAPHS = 64
"""So many a function may have: UNets share the classes of their blocks, and each width is one.
Beyond them torch goes on without compiling, and logs it."""
Forward = Callable[..., Any]
Told = Callable[[float], None]


def check_compiler(mode: bool | str, device: torch.device) -> None:
    """Hold what was asked for against what the machine has, before anything is loaded.

    Raises:
        ConfinerError: there is nothing to compile with.
    """
    if mode is False:
        return
    what = f"compile={str(mode).lower()}"
    if device.type == "cpu" and not _found("CXX", CPU_COMPILER):
        raise ConfinerError(
            f"{what} needs a C++ compiler, and there is none here",
            f"install {CPU_COMPILER} (Debian's package g++), or compile=false",
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise ConfinerError(
            f"{what} needs triton, and it is not installed", "pip install triton, or compile=false"
        )
    if device.type == "cuda" and not _found("CC", *C_COMPILERS):
        raise ConfinerError(
            f"{what} needs a C compiler for triton, and there is none here",
            "install gcc, or compile=false",
        )


def _found(variable: str, *names: str) -> bool:
    """Whether one of these programs is there, or the one that the environment names instead."""
    named = os.environ.get(variable)
    return any(map(shutil.which, (named,) if named else names))


def keep_what_is_compiled() -> None:
    """In a folder that outlives a restart, unless the person has named one.

    It holds for the whole process, so it is for a command and not for a library.
    """
    if CACHE in os.environ:
        return
    try:
        folder = own_cache("inductor")
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return  # no home, or one that cannot be written to: torch's own place will do
    if os.access(folder, os.W_OK):
        os.environ[CACHE] = str(folder)


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
    graphs = Graphs(backend)
    if mode == REGIONAL:
        for block in _blocks(module):
            block.forward = _marked(_compiled(block, graphs), (0, 1))
    else:
        module.forward = _marked(_compiled(module, graphs), (frames,))
    module.forward = _watched(module.forward, what, told, graphs)
    return module


class Graphs:
    """A compiler that counts the graphs of one network, whatever else the process compiles.

    Attributes:
        count: how many it has compiled, or found on disk.
    """

    def __init__(self, backend: Any) -> None:
        """Take over one that torch knows by name, or a function."""
        from torch._dynamo import lookup_backend

        self.count = 0
        self._backend = lookup_backend(backend) if isinstance(backend, str) else backend

    def __call__(self, graph: Any, examples: Any) -> Any:
        """Compile a graph for arguments like the examples."""
        self.count += 1
        return self._backend(graph, examples)


def _blocks(module: nn.Module) -> list[nn.Module]:
    return [block for block in module.modules() if type(block).__name__ in BLOCKS]


def _compiled(module: nn.Module, graphs: Graphs) -> Forward:
    import torch

    return torch.compile(  # type: ignore[call-overload,no-any-return]
        module.forward, backend=graphs, recompile_limit=GRAPHS
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


def _watched(forward: Forward, what: str, told: Told, graphs: Graphs) -> Forward:
    """The same; it says that something is compiled, and how long that took."""
    from torch._dynamo.exc import TorchDynamoException

    def watched(*arguments: Any, **others: Any) -> Any:
        before, started = graphs.count, monotonic()
        if not before:
            progress.say(f"compiling {what}: its first pass takes minutes, in later processes less")
        try:
            result = forward(*arguments, **others)
        except TorchDynamoException as error:
            raise _named(what, error) from error
        if graphs.count > before:
            seconds = monotonic() - started
            told(seconds)
            progress.say(f"compiled {what}: {seconds:.1f} s")
        return result

    return watched


def _named(what: str, error: Exception) -> Exception:
    """Why it failed, which torch keeps inside; memory that ran out is told as ever."""
    import torch

    cause: Exception = getattr(error, "inner_exception", error)
    if isinstance(cause, (torch.OutOfMemoryError, MemoryError)):
        return cause
    return FailedError(f"{what} cannot be compiled: {first_line(cause)}", "compile=false")

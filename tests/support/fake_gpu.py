"""A GPU that is none: tensors that say they lie on one, and a list of what would wait for it.

A tensor on it keeps its numbers on the CPU, where every operation is done. So what is computed is
what the CPU computes, and what is noted is what a real one would have been waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
GPU = torch.device("cuda:0")
CPU = torch.device("cpu")
THERE = ("cuda", "meta")
COPIES = (aten._to_copy.default, aten.copy_.default)
READS = (
    aten._local_scalar_dense.default, aten.equal.default, aten.nonzero.default,
    aten.masked_select.default, aten.repeat_interleave.Tensor, aten.bincount.default,
)  # fmt: skip
"""What has its answer, or the shape of it, from the numbers."""


@dataclass(frozen=True)
class Note:
    """Something that has to do with waiting.

    Attributes:
        what: `read`, `to cpu`, `to gpu`, which wait where they are not asynchronous; or `event`.
        waits: whether the thread waits for the GPU.
        sampling: whether it was the thread that samples.
        where: the operation.
    """

    what: str
    waits: bool
    sampling: bool
    where: str


class OnGpu(torch.Tensor):
    """A tensor that says that it is on the GPU; `numbers` is it, on the CPU."""

    numbers: Tensor
    gpu: FakeGpu

    @staticmethod
    def __new__(cls, numbers: Tensor, gpu: FakeGpu) -> OnGpu:
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined,no-any-return]
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device="meta",  # to what of torch is not Python: a build for the CPU has no other
        )

    def __init__(self, numbers: Tensor, gpu: FakeGpu) -> None:
        self.numbers, self.gpu = numbers, gpu

    @property
    def device(self) -> torch.device:
        return GPU

    @property
    def is_cuda(self) -> bool:
        return True

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        gpu = next(each.gpu for each in tree_leaves((args, kwargs)) if isinstance(each, cls))
        return gpu.done(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"OnGpu({self.numbers!r})"


class FakeGpu(TorchDispatchMode):
    """Does what a process asks of torch; `notes` are what it would have waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[Note] = []
        self.pinned: dict[int, Tensor] = {}  # kept, so that an id is no other's

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if torch.is_inference_mode_enabled():  # there operations made of others come whole
            with self:
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        return self.done(func, args, kwargs or {})

    def note(self, what: str, waits: bool, where: Any) -> None:
        """Write one down."""
        sampling = current_thread() is main_thread()
        self.notes.append(Note(what, waits, sampling, str(where)))

    def waits(self) -> list[Note]:
        """Those for which the sampling thread has waited."""
        return [each for each in self.notes if each.waits and each.sampling]

    def done(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """An operation's result, on the device where it belongs."""
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        here = [isinstance(each, OnGpu) for each in tensors]
        if func is aten.is_pinned.default:
            return id(args[0]) in self.pinned
        if func in COPIES:
            self._note_copy(func, args, kwargs)
        elif any(here):
            self._check(func, tensors)
        to_gpu = any(here)
        if kwargs.get("device") is not None:
            to_gpu = kwargs["device"].type in THERE
        result = self._computed(func, args, kwargs)
        if func is aten._pin_memory.default or kwargs.get("pin_memory"):
            self.pinned[id(result)] = result
        if func._schema.is_mutable and args:
            return args[0]
        return self.put(result) if to_gpu else result

    def put(self, values: Any) -> Any:
        """The tensors among the values, on the GPU."""
        return tree_map_only(Tensor, lambda each: OnGpu(each, self), values)

    def network(self, module: nn.Module) -> nn.Module:
        """A network moved there."""
        for part in module.modules():
            for name, parameter in list(part.named_parameters(recurse=False)):
                moved = nn.Parameter(self.put(parameter.detach()), requires_grad=False)
                part.register_parameter(name, moved)
            for name, buffer in list(part.named_buffers(recurse=False)):
                setattr(part, name, self.put(buffer))
        return module

    def _computed(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """On the CPU, of the numbers."""
        args, kwargs = tree_map_only(OnGpu, lambda each: each.numbers, (args, kwargs))
        if "device" in kwargs:
            kwargs["device"] = CPU
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
        with _disable_current_modes():
            if func is aten._pin_memory.default:
                return args[0].clone()
            if func is aten._to_copy.default:
                return _copied(*args, **kwargs)
            return func(*args, **kwargs)

    def _note_copy(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        source = args[1] if func is aten.copy_.default else args[0]
        target = kwargs.get("device") or source.device
        if func is aten.copy_.default:
            target = args[0].device
        if (target.type in THERE) == (source.device.type in THERE):
            return
        asynchronous = bool(kwargs.get("non_blocking"))
        if target.type in THERE:
            asynchronous = asynchronous and id(source) in self.pinned
            self.note("to gpu", not asynchronous, func)
        else:
            self.note("to cpu", not asynchronous, func)

    def _check(self, func: Any, tensors: list[Tensor]) -> None:
        """What a real one refuses, and what it waits for in silence."""
        if func in READS:
            self.note("read", True, func)
        if func is aten._has_compatible_shallow_copy_type.default:
            return  # of a network that is moved: nothing is computed
        strangers = [each for each in tensors if not isinstance(each, OnGpu) and each.ndim]
        if strangers and func is aten.index.Tensor:
            self.note("to gpu", True, func)  # an index is copied there, from memory of any kind
        elif strangers:
            raise RuntimeError(f"{func}: tensors on the GPU and on the CPU")
        if func is aten.index.Tensor and any(each.dtype == torch.bool for each in tensors[1:]):
            self.note("read", True, func)


def _copied(source: Tensor, **options: Any) -> Tensor:
    """A copy even where nothing changes."""
    options = {key: value for key, value in options.items() if key in ("dtype", "memory_format")}
    return aten._to_copy.default(source, **options)


class Event:
    """Comes at once, and says who waits for it."""

    gpu: FakeGpu

    def __init__(self, **options: bool) -> None:
        self.recorded = False

    def record(self, stream: Any = None) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        assert self.recorded
        self.gpu.note("event", True, "synchronize")

    def query(self) -> bool:
        return self.recorded

    def elapsed_time(self, other: Event) -> float:
        assert self.recorded and other.recorded
        return 1.0


@contextmanager
def fake_gpu() -> Iterator[FakeGpu]:
    """In the body `cuda:0` is there."""
    gpu = FakeGpu()
    of_cuda = {
        "Event": type("Event", (Event,), {"gpu": gpu}),
        "current_stream": lambda device=None: None,
        "mem_get_info": lambda device=None: (2**40, 2**40),
        "memory_reserved": lambda device=None: 0,
        "max_memory_allocated": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
        "get_device_name": lambda device=None: "a GPU that is none",
    }
    with ExitStack() as stack:
        for name, value in of_cuda.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(FakeTensorMode())  # with it torch asks for no driver
        stack.enter_context(gpu)
        yield gpu

"""Which networks are on the device, and whose they are: whoever loads experts owns a cache.

Networks are loaded when they are first called, and moved off the device to make room. Threads may
share a cache: one computes at a time, since another might move a network that it computes with.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import RLock
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from confiner_cli.experts.forking import refuse_forked
from confiner_cli.experts.interruption import interruptible

if TYPE_CHECKING:
    import torch
    from torch import nn

STAGE = {"control": "structure", "spatial": "refinement", "temporal": "refinement"}
QUICK = 2**30
"""Bytes of a text encoder below which it is a small one, loaded in a second or two."""
MAX_CACHED = 8
"""Networks that are kept, on the device or off it: two sets of experts are loaded once."""
Small = TypeVar("Small")


@dataclass(frozen=True)
class OffloadPolicy:
    """What `memory=` chooses.

    Attributes:
        name: high, balanced or low.
        evicts: whether the network of the first role leaves the device when that of the second is
            called.
        guidance_batched: guidance is one pass of two samples, not two passes of one.
        frame_batch: frames that an expert of single frames sees at once; None is all.
        decode_batch: frames that the VAE decodes at once.
        text_in_ram: whether a large text encoder computes on the CPU. It is asked once a prompt,
            and larger than all else.
    """

    name: str
    evicts: Callable[[str, str], bool]
    guidance_batched: bool
    frame_batch: int | None
    decode_batch: int
    text_in_ram: bool = False


def _never(here: str, called: str) -> bool:
    return False


def _always(here: str, called: str) -> bool:
    return True


def _other_stage(here: str, called: str) -> bool:
    return here in STAGE and called in STAGE and STAGE[here] != STAGE[called]


HIGH = OffloadPolicy("high", _never, guidance_batched=True, frame_batch=None, decode_batch=8)
BALANCED = OffloadPolicy(
    "balanced", _other_stage, True, frame_batch=None, decode_batch=8, text_in_ram=True
)
LOW = OffloadPolicy("low", _always, False, frame_batch=4, decode_batch=2, text_in_ram=True)
POLICIES = MappingProxyType({policy.name: policy for policy in (HIGH, BALANCED, LOW)})


@dataclass(eq=False)
class NetworkCache:
    """The networks that somebody has loaded and owns, kept until they are closed or too many.

    `with NetworkCache() as cache:` closes it at the end. It may be handed to another process, where
    it arrives empty: each process loads its own.

    Attributes:
        modules: the networks by key, the one called last at the end.
        on_device: the roles of those that are on a device, by key.
        messages: what the libraries had to say when they loaded.
        compile_seconds: of each call in which a network was compiled.
        lock: held by the thread that computes with the networks, loads, moves or closes them.
    """

    modules: OrderedDict[Hashable, nn.Module] = field(default_factory=OrderedDict)
    on_device: dict[Hashable, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    compile_seconds: list[float] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock, repr=False)
    _small: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def get(
        self,
        key: Hashable,
        role: str,
        device: torch.device,
        policy: OffloadPolicy,
        load: Callable[[], nn.Module],
    ) -> nn.Module:
        """The network `key`, loaded if it has to be, on its device.

        Others stay there as the policy has it, one a role; but a set may have several text
        encoders. It stays there as long as the caller holds the lock.

        Raises:
            ConfinerError: see `refuse_forked`; or what `load` raises.
        """
        refuse_forked()
        with self.lock:
            self._make_room(key, role, policy)  # first: both at once may be more than there is room
            if key not in self.modules:
                self.modules[key] = self._collecting(load)
            elif key not in self.on_device:
                self.modules[key].to(device)
            self.modules.move_to_end(key)
            self.on_device[key] = role
            self._let_go_of_the_oldest()
            return self.modules[key]

    def remember(self, key: Hashable, make: Callable[[], Small]) -> Small:
        """What `make` gives for a key, made once: tokenizers and the like, which take no room."""
        with self.lock:
            if key not in self._small:
                self._small[key] = self._collecting(make)
            small: Small = self._small[key]
            return small

    def close(self) -> None:
        """Let go of all networks and give their memory back, once no thread computes with them.

        What is called afterwards is loaded anew.
        """
        with self.lock:
            self.modules.clear()
            self.on_device.clear()
            self._small.clear()
            self._collect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[NetworkCache], tuple[()]]:
        return NetworkCache, ()

    def _collecting(self, load: Callable[[], Small]) -> Small:
        from confiner_cli.experts.loading_messages import collected

        with collected() as messages, interruptible():
            try:
                return load()
            finally:
                self.messages += messages

    def _let_go_of_the_oldest(self) -> None:
        gone = []
        while len(self.modules) > MAX_CACHED:
            gone.append(self.modules.popitem(last=False)[0])
        for key in gone:
            self.on_device.pop(key, None)
        if gone:
            self._collect()

    def _collect(self) -> None:
        if self.compile_seconds:
            gc.collect()  # a compiled network refers to itself
        _give_back()

    def _make_room(self, key: Hashable, role: str, policy: OffloadPolicy) -> None:
        leaving = [
            other
            for other, its in self.on_device.items()
            if other != key and ((its == role and role != "text") or policy.evicts(its, role))
        ]
        for other in leaving:
            del self.on_device[other]
            self.modules[other].to("cpu")
        if leaving:
            _give_back()


def _give_back() -> None:
    """Give the device's memory that nobody uses any more back to it."""
    import torch  # not for those who only read the table

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


@dataclass(frozen=True)
class Handle:
    """A network by name: calling it gives the module, on its device.

    Attributes:
        key: what it is kept by: all that decides its numbers and where they are.
        role: `control`, `spatial`, `temporal`, `text` or `vae`.
        device: where it is called.
        policy: who makes room for it.
        cache: whose it is.
        load: reads it from disk, straight to its device.
    """

    key: Hashable
    role: str
    device: torch.device
    policy: OffloadPolicy
    cache: NetworkCache
    load: Callable[[], nn.Module]

    def __call__(self) -> nn.Module:
        """Load it or bring it back, making room as the policy says."""
        return self.cache.get(self.key, self.role, self.device, self.policy, self.load)

    @contextmanager
    def computing(self) -> Iterator[nn.Module]:
        """The module, which other threads leave alone in the body."""
        with self.cache.lock:
            yield self()

"""Which networks are on the device: loaded when first called, moved off when the memory setting wants the room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

STAGE = {"control": "structure", "spatial": "refinement", "temporal": "refinement"}
KEPT = 8
"""Networks that a process keeps, on the device or off it: a sweep over two sets of experts loads nothing twice."""


@dataclass(frozen=True)
class Memory:
    """What `memory=` chooses.

    Attributes:
        name: high, balanced or low.
        leaves: whether the network of the first role leaves the device when that of the second is called.
        guidance_together: guidance is one pass of two samples, not two passes of one.
        frame_batch: frames that an expert of single frames sees at once; None is all.
        decode_batch: frames that the VAE decodes at once.
    """

    name: str
    leaves: Callable[[str, str], bool]
    guidance_together: bool
    frame_batch: int | None
    decode_batch: int


def _other_stage(here: str, called: str) -> bool:
    return here in STAGE and called in STAGE and STAGE[here] != STAGE[called]


HIGH = Memory(
    "high", lambda here, called: False, guidance_together=True, frame_batch=None, decode_batch=8
)
BALANCED = Memory(
    "balanced", _other_stage, guidance_together=True, frame_batch=None, decode_batch=8
)
LOW = Memory(
    "low", lambda here, called: True, guidance_together=False, frame_batch=4, decode_batch=2
)
MEMORY = MappingProxyType({memory.name: memory for memory in (HIGH, BALANCED, LOW)})


@dataclass
class Residence:
    """The networks that a process has loaded, the one called last at the end, and which of them are on a device."""

    modules: OrderedDict[Hashable, nn.Module] = field(default_factory=OrderedDict)
    here: dict[Hashable, str] = field(default_factory=dict)

    def summon(
        self,
        key: Hashable,
        role: str,
        device: torch.device,
        memory: Memory,
        load: Callable[[], nn.Module],
    ) -> nn.Module:
        """The network `key`, loaded if it has to be, on its device.

        Others stay there as the memory setting has it, one a role; but a set may have several text encoders.
        """
        self._make_room(key, role, memory)
        if key not in self.modules:
            self.modules[key] = load()
        elif key not in self.here:
            self.modules[key].to(device)
        self.modules.move_to_end(key)
        self.here[key] = role
        while len(self.modules) > KEPT:
            gone, _ = self.modules.popitem(last=False)
            self.here.pop(gone, None)
        return self.modules[key]

    def _make_room(self, key: Hashable, role: str, memory: Memory) -> None:
        leaving = [
            other for other, its in self.here.items()
            if other != key and ((its == role and role != "text") or memory.leaves(its, role))
        ]  # fmt: skip
        for other in leaving:
            del self.here[other]
            self.modules[other].to("cpu")
        if leaving:
            _give_back()


def _give_back() -> None:
    import torch  # not for those who only read the table

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


RESIDENCE = Residence()


@dataclass(frozen=True)
class Handle:
    """A network by name: calling it gives the module, on its device."""

    key: Hashable
    role: str
    device: torch.device
    memory: Memory
    load: Callable[[], nn.Module]

    def __call__(self) -> nn.Module:
        """Load it or bring it back, making room as the memory setting says."""
        return RESIDENCE.summon(self.key, self.role, self.device, self.memory, self.load)

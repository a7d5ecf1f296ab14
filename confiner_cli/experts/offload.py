"""Which networks are on the device: loaded when first called, moved off to make room."""

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
MAX_CACHED = 8
"""Networks that are kept, on the device or off it: two sets of experts are loaded once."""


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
    """

    name: str
    evicts: Callable[[str, str], bool]
    guidance_batched: bool
    frame_batch: int | None
    decode_batch: int


def _never(here: str, called: str) -> bool:
    return False


def _always(here: str, called: str) -> bool:
    return True


def _other_stage(here: str, called: str) -> bool:
    return here in STAGE and called in STAGE and STAGE[here] != STAGE[called]


HIGH = OffloadPolicy("high", _never, guidance_batched=True, frame_batch=None, decode_batch=8)
BALANCED = OffloadPolicy(
    "balanced", _other_stage, guidance_batched=True, frame_batch=None, decode_batch=8
)
LOW = OffloadPolicy("low", _always, guidance_batched=False, frame_batch=4, decode_batch=2)
POLICIES = MappingProxyType({policy.name: policy for policy in (HIGH, BALANCED, LOW)})


@dataclass
class NetworkCache:
    """Networks that were loaded, the one called last at the end, and which are on a device."""

    modules: OrderedDict[Hashable, nn.Module] = field(default_factory=OrderedDict)
    here: dict[Hashable, str] = field(default_factory=dict)

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
        encoders.
        """
        self._make_room(key, role, policy)
        if key not in self.modules:
            self.modules[key] = load()
        elif key not in self.here:
            self.modules[key].to(device)
        self.modules.move_to_end(key)
        self.here[key] = role
        while len(self.modules) > MAX_CACHED:
            gone, _ = self.modules.popitem(last=False)
            self.here.pop(gone, None)
        return self.modules[key]

    def _make_room(self, key: Hashable, role: str, policy: OffloadPolicy) -> None:
        leaving = [
            other
            for other, its in self.here.items()
            if other != key and ((its == role and role != "text") or policy.evicts(its, role))
        ]
        for other in leaving:
            del self.here[other]
            self.modules[other].to("cpu")
        if leaving:
            _give_back()


def _give_back() -> None:
    import torch  # not for those who only read the table

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


RESIDENCE = NetworkCache()


@dataclass(frozen=True)
class Handle:
    """A network by name: calling it gives the module, on its device."""

    key: Hashable
    role: str
    device: torch.device
    policy: OffloadPolicy
    load: Callable[[], nn.Module]

    def __call__(self) -> nn.Module:
        """Load it or bring it back, making room as the policy says."""
        return RESIDENCE.get(self.key, self.role, self.device, self.policy, self.load)

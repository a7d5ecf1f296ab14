"""When something is done: by the clock, or by a GPU, which does it later than it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol, Self

import torch


class Instant(Protocol):
    """A point in time of one device."""

    def has_come(self) -> bool:
        """Whether it is in the past."""

    def since(self, earlier: Self) -> float:
        """Seconds from an earlier one of the same device to this one, once both have come."""


@dataclass(frozen=True)
class ByClock:
    """When the CPU came to it."""

    at: float = field(default_factory=monotonic)

    def has_come(self) -> bool:
        """It has."""
        return True

    def since(self, earlier: ByClock) -> float:
        """By the monotonic clock."""
        return self.at - earlier.at


@dataclass(frozen=True)
class ByGpu:
    """When a GPU comes to it, after all that it was told before."""

    event: torch.cuda.Event

    def has_come(self) -> bool:
        """Whether the GPU is that far, without waiting for it. One that failed will never be."""
        try:
            return bool(self.event.query())  # type: ignore[no-untyped-call]
        except RuntimeError:
            return False

    def since(self, earlier: ByGpu) -> float:
        """By the GPU's own clock."""
        return float(earlier.event.elapsed_time(self.event)) / 1000


def now(device: torch.device) -> Instant:
    """On the device: after what it was told before, and before what it will be told."""
    if device.type != "cuda":
        return ByClock()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return ByGpu(event)

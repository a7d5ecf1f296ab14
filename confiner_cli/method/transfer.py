"""Between the CPU and the device that computes, without waiting for it.

A GPU works through what it is given, in order, while the CPU goes on. It is waited for where the
CPU reads what it has computed, or hands it memory that is not pinned. So nothing does either while
a sample is walked: noise goes one way, and what is read goes the other way, as is said here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def onto(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. A GPU fetches it from pinned memory when it comes to it."""
    if device.type == "cuda" and tensor.is_cpu:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True)
class Arrival:
    """Tensors on their way to the CPU.

    Attributes:
        tensors: on the CPU; they are what they will be once the event has come.
        event: comes when they are there; None: they are.
    """

    tensors: tuple[Tensor, ...]
    event: torch.cuda.Event | None = None

    def wait(self) -> tuple[Tensor, ...]:
        """The tensors, once they are there; in whichever thread."""
        if self.event is not None:
            self.event.synchronize()
        return self.tensors


def sent(*tensors: Tensor) -> Arrival:
    """Send tensors of one device to the CPU. A GPU does so when it has computed them."""
    if not tensors[0].is_cuda:
        return Arrival(tuple(tensor.cpu() for tensor in tensors))
    pinned = tuple(tensor.to("cpu", non_blocking=True) for tensor in tensors)
    # Who waits for it sleeps.
    event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(tensors[0].device))
    return Arrival(pinned, event)

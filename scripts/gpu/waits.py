"""What the CPU waits for a GPU for, counted by torch's profiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from torch.profiler import ProfilerActivity, profile

KINDS = {
    "Memcpy DtoH (Device -> Pageable)": "copies that wait",
    "Memcpy DtoH (Device -> Pinned)": "copies that do not",
    "cudaStreamSynchronize": "waits for a stream",
    "cudaDeviceSynchronize": "waits for all",
    "cudaEventSynchronize": "waits for frames",
}
"""What is counted, by how the profiler's names of it begin. A copy that waits is a wait, too."""


def counted(make: Callable[[], Any]) -> dict[str, int]:
    """Do it once more, and count."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        make()
    return by_kind((event.key, event.count) for event in profiler.key_averages())


def by_kind(events: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The counts of `KINDS`, of the profiler's names and theirs."""
    found = Counter(dict.fromkeys(KINDS.values(), 0))
    for name, count in events:
        for beginning, kind in KINDS.items():
            if name.startswith(beginning):
                found[kind] += count
    return dict(found)

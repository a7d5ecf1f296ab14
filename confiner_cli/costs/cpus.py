"""How many CPUs this process may really use: a container's quota is less than the machine.

Linux says it in /proc and /sys, and in the process's affinity. No torch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from confiner_cli.costs.cgroups import Group, groups_with, lines


def usable_cpus(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> int:
    """The least of what the affinity, the cgroups' quotas and SLURM leave; 1 or more.

    A quota that is no whole number is rounded. At a quota of 1.5 CPUs two threads do as much as
    one, at less they do less, since to wait for each other costs them some (docs/benchmarks.md).

    Args:
        root: where proc/ and sys/ are.
        environment: the process's.
    """
    quota = min(_quotas(root), default=math.inf)
    limits = [_affinity(), *_of_slurm(environment)]
    if math.isfinite(quota):
        limits.append(math.floor(quota + 0.5))
    return max(1, min(limits))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _of_slurm(environment: Mapping[str, str]) -> Iterator[int]:
    stated = environment.get("SLURM_CPUS_PER_TASK", "")
    if stated.isdecimal() and int(stated):
        yield int(stated)


def _quotas(root: Path) -> Iterator[float]:
    """CPUs that the process's cgroups grant, its own and those around it."""
    for group in groups_with("cpu", root):
        words = _quota_and_period(group)
        if len(words) == 2 and all(word.isdecimal() for word in words):
            quota, period = map(int, words)
            if quota and period:
                yield quota / period


def _quota_and_period(group: Group) -> list[str]:
    """Two numbers of microseconds; `max` or -1 in the first one's place is no limit."""
    if group.version == 2:
        return " ".join(lines(group.folder / "cpu.max")).split()
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    return " ".join(" ".join(lines(group.folder / name)) for name in names).split()

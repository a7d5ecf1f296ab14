"""How much memory this process may still take: the machine's, its container's, its own limits'.

Read from Linux' /proc and /sys; elsewhere nothing is known. No torch.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from confiner_cli.costs.cgroups import groups_with, lines

NAMES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    2: ("memory.max", "memory.current"),
}
"""A cgroup's limit and what it uses of it, by version."""
NO_LIMIT = 2**60
"""From here on cgroup v1 means that there is none."""
KIB = 1024


@dataclass(frozen=True)
class Available:
    """Bytes that this process may still take.

    Attributes:
        memory: of RAM; pages of files that can be dropped count as free.
        with_swap: the same with swap.
        addresses: of address space, files that are mapped included (`ulimit -v`).
    """

    memory: float = math.inf
    with_swap: float = math.inf
    addresses: float = math.inf


def available(root: Path = Path("/")) -> Available:
    """What there is now; infinite where nothing is known.

    Args:
        root: where proc/ and sys/ are.
    """
    machine = _table(root / "proc/meminfo")
    free = machine.get("MemAvailable", math.inf)
    swap = machine.get("SwapFree", 0)
    groups = min(_left_by_groups(root), default=math.inf)
    # How much swap a cgroup may take is not asked for: none is refused that it could have.
    return Available(min(free, groups), min(free, groups) + swap, _left_of_addresses(root))


def _left_of_addresses(root: Path) -> float:
    status = _table(root / "proc/self/status")
    limits = ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData"))
    left = math.inf
    for limit, used in limits:
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY and used in status:
            left = min(left, soft - status[used])
    return left


def _left_by_groups(root: Path) -> Iterator[float]:
    """What the process's cgroup and those around it leave."""
    for group in groups_with("memory", root):
        yield from _left_by_group(group.folder, *NAMES[group.version])


def _left_by_group(group: Path, limit_name: str, usage_name: str) -> Iterator[float]:
    limit, usage = _number(group / limit_name), _number(group / usage_name)
    if limit is not None and usage is not None and limit < NO_LIMIT:
        yield max(0, limit - usage + _droppable(group / "memory.stat"))


def _droppable(stat: Path) -> int:
    """Bytes of files in a cgroup's memory, which make room when it is needed."""
    facts = dict(line.split(maxsplit=1) for line in lines(stat) if " " in line)
    # Version 1 has the names without `total_` for the group alone, without those in it.
    names = ("inactive_file", "active_file")
    totals = [facts.get(f"total_{name}", facts.get(name, "0")) for name in names]
    return sum(int(total) for total in totals)


def _number(path: Path) -> int | None:
    """The number in a file; None where there is none, as in `max`."""
    text = "".join(lines(path))
    return int(text) if text.isdecimal() else None


def _table(path: Path) -> dict[str, int]:
    """Bytes by name of a file of lines such as `MemAvailable:  22684220 kB`."""
    found = {}
    for line in lines(path):
        words = line.split()
        if len(words) == 3 and words[2] == "kB" and words[1].isdecimal():
            found[words[0].rstrip(":")] = int(words[1]) * KIB
    return found

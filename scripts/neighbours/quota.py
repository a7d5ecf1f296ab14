"""A cgroup with a quota of CPUs, of version 1 or 2, made for a while; needs root."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confiner_cli.costs.cgroups import Group, groups_with

PERIOD = 100_000
"""Microseconds, the kernel's usual."""
LIMITS = {1: "cpu.cfs_quota_us", 2: "cpu.max"}
"""The file that a quota is written into, by version."""


@contextmanager
def granted(cpus: float) -> Iterator[Callable[[int], None]]:
    """A cgroup of so many CPUs below this process's own; yields what puts a process into it.

    At the end its processes are put back, and it goes.

    Raises:
        OSError: it cannot be made here; says why.
    """
    own = _own()
    folder = own.folder / f"bench-{os.getpid()}"
    folder.mkdir()
    try:
        quota = str(int(cpus * PERIOD))
        (folder / LIMITS[own.version]).write_text(quota)
        yield lambda pid: _put(pid, folder)
    finally:
        _empty(folder, own.folder)
        folder.rmdir()


def _own() -> Group:
    """The group of this process, where CPUs can be shared out.

    Raises:
        OSError: there is none.
    """
    for group in groups_with("cpu"):
        if group.version == 1 and (group.folder / LIMITS[1]).exists():
            return group
        control = group.folder / "cgroup.subtree_control"
        with suppress(OSError):
            control.write_text("+cpu")
            return group
    raise OSError("no cgroup of this process lets root share out CPUs")


def _empty(folder: Path, into: Path) -> None:
    for pid in (folder / "cgroup.procs").read_text().split():
        with suppress(OSError):  # it has ended
            _put(int(pid), into)


def _put(pid: int, folder: Path) -> None:
    (folder / "cgroup.procs").write_text(str(pid))

"""The cgroups that a process is in, of either version, as folders: its own and those around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Group:
    """The folder with a cgroup's limits, and whose names they have: version 1's or 2's."""

    folder: Path
    version: int


@dataclass(frozen=True)
class _Mount:
    """A hierarchy of cgroups where it can be read: `root` is the group that `place` shows."""

    version: int
    controllers: tuple[str, ...]
    root: str
    place: str


def groups_with(controller: str, root: Path = Path("/")) -> Iterator[Group]:
    """The process's groups of a controller, `cpu` or `memory`: from its own outwards.

    Whether a folder is there, and states a limit, is for its reader to see.

    Args:
        controller: as cgroups call it.
        root: where proc/ and sys/ are.
    """
    mounts = list(_mounts(root))
    for line in lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        version = 1 if names else 2
        if version == 2 or controller in names.split(","):
            for mount in _holding(controller, version, mounts):
                yield from _outwards(root, mount, path)


def _outwards(root: Path, mount: _Mount, path: str) -> Iterator[Group]:
    top = root / mount.place.strip("/")
    # In a container the path may be the host's, and only the mount itself be there.
    inner = top / _below(mount.root, path)
    for folder in (inner, *inner.parents):
        yield Group(folder, mount.version)
        if folder == top:
            break


def _below(root: str, path: str) -> str:
    """A group's path from what a mount shows; empty where it is outside of that."""
    if ".." in PurePosixPath(path).parts:
        return ""
    with suppress(ValueError):
        return str(PurePosixPath(path).relative_to(root))
    return path.strip("/")


def _holding(controller: str, version: int, mounts: list[_Mount]) -> list[_Mount]:
    found = [
        mount
        for mount in mounts
        if mount.version == version and (version == 2 or controller in mount.controllers)
    ]
    return found or [_usual(controller, version)]


def _usual(controller: str, version: int) -> _Mount:
    place = "/sys/fs/cgroup" if version == 2 else f"/sys/fs/cgroup/{controller}"
    return _Mount(version, (controller,), "/", place)


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in lines(root / "proc/self/mountinfo"):
        mounted, _, kind = line.partition(" - ")
        where, what = mounted.split(), kind.split()
        if len(where) > 4 and what and what[0] in ("cgroup", "cgroup2"):
            version = 2 if what[0] == "cgroup2" else 1
            controllers = tuple(what[-1].split(","))
            yield _Mount(version, controllers, _plain(where[3]), _plain(where[4]))


def _plain(path: str) -> str:
    """A path of mountinfo, in which a space is a backslash and 040."""
    return _ESCAPED.sub(lambda code: chr(int(code[1], 8)), path)


def lines(path: Path) -> list[str]:
    """The lines of a file of the kernel's; none where it cannot be read."""
    with suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    return []

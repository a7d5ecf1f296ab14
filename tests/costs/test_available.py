"""How much memory there is: the least of what the machine, its cgroups and its limits leave."""

from __future__ import annotations

import math
import resource
from pathlib import Path

import pytest

from confiner_cli.costs.available import available

GIB = 2**30
MEMINFO = "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\nSwapFree:        1048576 kB\n"
V1_NONE = 9223372036854771712


@pytest.fixture
def machine(tmp_path) -> Path:
    """A machine with 8 GiB free, 1 GiB of swap, and no cgroup."""
    write(tmp_path, {"proc/meminfo": MEMINFO})
    return tmp_path


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_machine_alone(machine):
    found = available(machine)
    assert (found.memory, found.with_swap) == (8 * GIB, 9 * GIB)


def test_where_nothing_is_known_nothing_is_limited(tmp_path):
    assert available(tmp_path).memory == available(tmp_path).addresses == math.inf


def test_a_cgroup_of_version_2_leaves_its_limit_less_what_cannot_be_dropped(machine):
    folder = "sys/fs/cgroup/user.slice/job"
    write(
        machine,
        {
            "proc/self/cgroup": "0::/user.slice/job\n",
            f"{folder}/memory.max": f"{4 * GIB}\n",
            f"{folder}/memory.current": f"{3 * GIB}\n",
            f"{folder}/memory.stat": f"anon 5\ninactive_file {GIB}\nactive_file {GIB}\n",
            "sys/fs/cgroup/user.slice/memory.max": "max\n",
            "sys/fs/cgroup/user.slice/memory.current": "7\n",
        },
    )
    assert available(machine).memory == 3 * GIB


def test_a_cgroup_around_it_may_leave_less(machine):
    write(
        machine,
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            "sys/fs/cgroup/outer/inner/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/outer/inner/memory.current": "0\n",
            "sys/fs/cgroup/outer/memory.max": f"{2 * GIB}\n",
            "sys/fs/cgroup/outer/memory.current": "0\n",
        },
    )
    assert available(machine).memory == 2 * GIB


def test_a_cgroup_of_version_1_counts_too_and_in_a_container_its_mount(machine):
    folder = "sys/fs/cgroup/memory"
    write(
        machine,
        {
            "proc/self/cgroup": "5:cpu:/docker/a\n4:memory:/docker/a\n0::/\n",
            f"{folder}/memory.limit_in_bytes": f"{2 * GIB}\n",
            f"{folder}/memory.usage_in_bytes": f"{2 * GIB}\n",
            f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB}\n",
        },
    )
    assert available(machine).memory == GIB
    write(machine, {f"{folder}/memory.limit_in_bytes": f"{V1_NONE}\n"})
    assert available(machine).memory == 8 * GIB


def test_limits_of_the_process_leave_what_it_has_not_mapped_yet(machine, monkeypatch):
    write(machine, {"proc/self/status": "VmSize:\t1048576 kB\nVmData:\t524288 kB\n"})
    limits = {resource.RLIMIT_AS: 3 * GIB, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], limits[kind]))
    assert available(machine).addresses == 2 * GIB
    limits[resource.RLIMIT_DATA] = GIB
    assert available(machine).addresses == GIB // 2

"""How many CPUs there are for a process: the least of what all who have a say leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from confiner_cli.costs.cpus import usable_cpus

CPUS = 64
V1 = "3:cpu,cpuacct:/job\n0::/\n"
V2 = "0::/outer/inner\n"
UNIFIED = "31 23 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
INNER, OUTER = "sys/fs/cgroup/outer/inner/cpu.max", "sys/fs/cgroup/outer/cpu.max"
NOTHING: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
    """One of 64 CPUs, all of them allowed."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(CPUS)), raising=False)


def cpus(root: Path, files: dict[str, str], environment: dict[str, str] = NOTHING) -> int:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return usable_cpus(root, environment)


def of_version_2(inner: str, outer: str = "max 100000") -> dict[str, str]:
    return {
        "proc/self/cgroup": V2,
        "proc/self/mountinfo": UNIFIED,
        INNER: f"{inner}\n",
        OUTER: f"{outer}\n",
    }


def of_version_1(quota: str, period: str) -> dict[str, str]:
    folder = "sys/fs/cgroup/cpu,cpuacct"
    return {
        "proc/self/cgroup": V1,
        "proc/self/mountinfo": f"32 31 0:29 / /{folder} rw - cgroup cgroup rw,cpu,cpuacct\n",
        f"{folder}/job/cpu.cfs_quota_us": f"{quota}\n",
        f"{folder}/job/cpu.cfs_period_us": f"{period}\n",
    }


def test_where_nothing_limits_them_there_are_those_of_the_affinity(tmp_path, monkeypatch):
    assert cpus(tmp_path, {}) == CPUS
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    assert cpus(tmp_path, {}) == 2


def test_a_system_without_affinity_has_those_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for known, found in ((8, 8), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda known=known: known)
        assert cpus(tmp_path, {}) == found


@pytest.mark.parametrize(
    ("quota", "found"),
    [
        ("200000 100000", 2), ("50000 50000", 1), ("149999 100000", 1), ("150000 100000", 2),
        ("1000 100000", 1), ("9999999 100000", CPUS),
    ],
)  # fmt: skip
def test_a_quota_is_rounded_and_leaves_one(tmp_path, quota, found):
    assert cpus(tmp_path, of_version_2(quota)) == found


@pytest.mark.parametrize(
    "stated",
    ["max 100000", "", "max", "100000", "0 100000", "100000 0", "-1 100000", "1e5 100000",
     "100000 100000 100000", "\u00b2 1", "a b"],
)  # fmt: skip
def test_what_is_no_quota_of_version_2_limits_nothing(tmp_path, stated):
    assert cpus(tmp_path, of_version_2(stated)) == CPUS


def test_a_group_around_it_may_grant_less(tmp_path):
    assert cpus(tmp_path, of_version_2("400000 100000", "300000 100000")) == 3
    assert cpus(tmp_path, of_version_2("max 100000", "300000 100000")) == 3
    assert cpus(tmp_path, of_version_2("200000 100000", "300000 100000")) == 2


@pytest.mark.parametrize(
    ("quota", "period", "found"),
    [("300000", "100000", 3), ("-1", "100000", CPUS), ("300000", "", CPUS), ("x", "y", CPUS)],
)
def test_a_quota_of_version_1_counts_where_its_hierarchy_is_mounted(tmp_path, quota, period, found):
    assert cpus(tmp_path, of_version_1(quota, period)) == found


@pytest.mark.parametrize("path", ["/docker/abc", "/", "/../../elsewhere", "/not/shown/here"])
def test_in_a_container_the_mount_is_the_group(tmp_path, path):
    files = {
        "proc/self/cgroup": f"4:cpu:{path}\n",
        "proc/self/mountinfo": "9 8 0:1 /docker/abc /cg\\040roups rw - cgroup cgroup rw,cpu\n",
        "cg roups/cpu.cfs_quota_us": "100000\n",
        "cg roups/cpu.cfs_period_us": "50000\n",
    }
    assert cpus(tmp_path, files) == 2


def test_of_both_versions_the_least_counts(tmp_path):
    files = of_version_1("500000", "100000") | {
        "proc/self/mountinfo": "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup c cpu,cpuacct\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/unified/cpu.max": "700000 100000\n",
    }
    assert cpus(tmp_path, files) == 5
    assert cpus(tmp_path, {"sys/fs/cgroup/unified/cpu.max": "400000 100000\n"}) == 4


@pytest.mark.parametrize("garbage", ["", "\n", "0\n", ":::\n", "0::\n", "\0\xff", "a:b\n4:cpu\n"])
def test_files_that_cannot_be_understood_limit_nothing(tmp_path, garbage):
    files = {"proc/self/cgroup": garbage, "proc/self/mountinfo": f"{garbage} - \n - cgroup2\n"}
    assert cpus(tmp_path, files) == CPUS


def test_slurm_grants_what_it_says(tmp_path):
    assert cpus(tmp_path, {}, {"SLURM_CPUS_PER_TASK": "4"}) == 4
    for stated in ("", "0", "-1", "4(x2)", "many"):
        assert cpus(tmp_path, {}, {"SLURM_CPUS_PER_TASK": stated}) == CPUS
    assert cpus(tmp_path, of_version_2("200000 100000"), {"SLURM_CPUS_PER_TASK": "4"}) == 2


def test_of_this_machine_there_are_no_more_than_it_has(monkeypatch):
    monkeypatch.undo()
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)

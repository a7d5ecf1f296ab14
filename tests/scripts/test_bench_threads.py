"""Runs beside other programs: workers answer, what is busy ends, what cannot be made is told."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bench_growth
import bench_threads
from bench_threads import CONDITIONS, WAYS, cell, median_of, rows, spinning, under
from neighbours import process, quota
from neighbours.process import SlowError, Worker, busy

SMALL = ("num_frames=1", "height=16", "width=16")


def test_a_worker_makes_runs_when_it_is_told_and_is_ended_when_it_is_slow():
    worker = Worker((*SMALL, "threads=2"), os.environ, batch=2)
    try:
        for _ in range(2):
            worker.begin()
            answer = worker.end(300)
            assert answer.threads == 2 and answer.seconds > 0 and answer.peak >= answer.held > 0
        worker.begin()
        with pytest.raises(SlowError):
            worker.end(0)
    finally:
        worker.close()
    assert worker.process.returncode is not None


def test_busy_programs_are_there_in_the_body_and_not_after_it(monkeypatch):
    started, real = [], subprocess.Popen

    def popen(*arguments, **options):
        started.append(real(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(process.subprocess, "Popen", popen)
    with busy(2):
        assert [other.poll() for other in started] == [None, None]
    assert all(other.poll() is not None for other in started)


def test_a_busy_program_ends_where_nobody_waits_for_it():
    script = (
        "import subprocess, sys; from neighbours.process import BUSY;"
        "print(subprocess.Popen([sys.executable, '-c', BUSY], stdout=subprocess.DEVNULL).pid);"
        "import time; time.sleep(0.5)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=process.SCRIPTS, capture_output=True, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and _computes(int(done.stdout)):
        time.sleep(0.05)
    assert not _computes(int(done.stdout))


def _computes(pid: int) -> bool:
    try:
        return b"parent = os.getppid()" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Quick(bench_threads.Bench):
    """Takes a second; two threads that spin beside others take too long."""

    def seconds(self, way, condition, place):
        if condition.busy and way.name == "2, ACTIVE":
            raise SlowError
        return 1.0 + condition.busy


def test_the_table_has_every_condition_and_says_what_was_left_out(monkeypatch):
    monkeypatch.setattr(quota, "groups_with", lambda controller: [])
    conditions = CONDITIONS | under(1)
    lines = list(rows(Quick([*WAYS, spinning(5)], [], limit=20), conditions, runs=2))
    assert len(lines) == 2 + len(conditions)
    assert lines[3].startswith("| one busy program | 2.00 s (2.00) | 2.00 s (2.00) |")
    assert lines[3].endswith("| over 20 s (20.00) | 2.00 s (2.00) |")
    assert "left out: no cgroup" in lines[-1]
    assert {line.count("|") for line in lines} == {len(WAYS) + 3}


def test_a_way_that_was_too_slow_once_is_too_slow():
    assert median_of([1.0, 5.0, 2.0]) == 2.0
    assert median_of([1.0, 1.0, math.inf]) == math.inf
    assert cell(math.inf, math.inf, limit=20) == "over 20 s"


def test_the_exponent_of_a_power_law_is_found_exactly():
    sizes = [1, 2, 4, 8]
    assert bench_growth.power(sizes, [3 * size**1.5 for size in sizes]) == "**1.50** (1.000)"
    assert bench_growth.power(sizes, [0, 1, 2, 3]) == ""


def test_every_series_is_of_settings_that_there_are():
    for one in bench_growth.series(quick=False):
        sizes = [point.size for point in one.points]
        assert sizes == sorted(sizes) and sizes[-1] > sizes[0]
    assert bench_growth.series(quick=False)[0].points[-1].words[0] == "num_frames=600"

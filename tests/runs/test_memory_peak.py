"""Peak memory is what the process could not give back, and not files that are mapped."""

from __future__ import annotations

import mmap
import sys
import time

import pytest

from confiner_cli.runs.memory_peak import MemoryPeak, held_bytes

SIZE = 64 * 2**20
ROOM = SIZE // 4
"""How much else may come and go meanwhile."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_pages_of_a_mapped_file_do_not_count(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(SIZE))
    before = held_bytes()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        assert held_bytes() - before < ROOM


@linux
def test_what_was_held_and_given_back_in_the_meantime_counts():
    peak = MemoryPeak()
    before = peak.value()
    with peak.watched():
        block = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        block.write(b"x" * SIZE)
        while peak.seen - before < SIZE - ROOM:
            time.sleep(0.01)
        block.close()
    assert peak.value() - before > SIZE - ROOM
    assert held_bytes() - before < ROOM


def test_swapped_memory_counts_and_files_do_not(tmp_path):
    status = tmp_path / "status"
    status.write_text(
        "VmHWM:\t9 kB\nRssAnon:\t5 kB\nRssFile:\t3 kB\nRssShmem:\t1 kB\nVmSwap:\t2 kB\n"
    )
    assert held_bytes(status) == 8 * 1024


def test_without_proc_it_is_the_most_that_was_ever_held(tmp_path):
    assert held_bytes(tmp_path / "none") > 2**20

"""What is freed between passes is not asked of the kernel again."""

import os
import platform
import subprocess
import sys

import pytest

PASSES = """
import resource, sys
from confiner_cli.runs.freed_memory import keep_freed_memory

def work():
    held = [bytearray(size << 20) for size in (1, 3, 5, 7, 3, 1)]
    del held

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if "keep" in sys.argv:
    keep_freed_memory()
for _ in range(3):
    work()
before = faults()
for _ in range(20):
    work()
print(faults() - before)
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the C library is not glibc"
)


def faults(*words: str, **environment: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PASSES, *words],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_memory_of_one_pass_is_used_by_the_next():
    assert faults("keep") < 0.1 * faults()


def test_what_the_person_has_told_the_c_library_holds():
    told = {"MALLOC_TRIM_THRESHOLD_": "1000000"}
    assert faults("keep", **told) > 0.5 * faults(**told)

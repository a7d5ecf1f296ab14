"""Memory that networks free stays with the process: the kernel is not asked for it again.

A pass of a network makes and frees thousands of tensors. glibc's malloc hands what lies at the end
of its heap back each time it is a few MB, and gets it again page by page, filled with zeros.
"""

from __future__ import annotations

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""As malloc.h has them."""
KEPT = 256 * 2**20
"""So many free bytes may stay at the end of the heap."""
LARGEST = 32 * 2**20
"""Larger blocks have a mapping of their own, and go back at once: the most that glibc itself would
come to."""


def keep_freed_memory() -> None:
    """Tell the C library so, if it is glibc and the person has told it nothing else.

    It holds for the whole process, so it is for a command and not for a library.
    """
    told = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if told or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, LARGEST)
    libc.mallopt(M_TRIM_THRESHOLD, KEPT)

"""The networks of a process that carries out jobs: loaded once, whatever number of jobs it makes.

A launcher hands a job to a process as a pickle, which can bring no networks along.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from confiner_cli.experts.offload import NetworkCache


@functools.cache
def process_networks() -> NetworkCache:
    """Those of this process: a worker's until it ends, else until `closing_networks` ends."""
    return NetworkCache()


@contextmanager
def closing_networks() -> Iterator[None]:
    """Let go of this process's networks at the end."""
    try:
        yield
    finally:
        process_networks().close()
        process_networks.cache_clear()

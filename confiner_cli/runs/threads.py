"""How many threads compute on the CPU. torch keeps the number for the process: it is lent a run.

The same bits hold for the same number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import torch

from confiner_cli.config.job import Job
from confiner_cli.config.schema import Settings
from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.costs.parallel import busy_threads

CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""What torch takes its own number from, where a person has set it; else it is that of the cores."""


def asked_threads(settings: Settings) -> int | None:
    """The number that a person has asked for, or None."""
    return settings.threads if isinstance(settings.threads, int) else None


def threads_of(jobs: Sequence[Job]) -> int:
    """The number that jobs are computed with that are sampled together, as a command does it.

    `auto` is torch's own, but no more than the process has CPUs, nor, unless a person has set
    torch's own, than the networks keep busy.
    """
    asked = asked_threads(jobs[0].settings)
    if asked is not None:
        return asked
    found = min(torch.get_num_threads(), usable_cpus())
    if any(os.environ.get(name) for name in CHOSEN_BY):
        return found
    return int(min(found, busy_threads(jobs[0], len(jobs))))


@contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """In the body torch computes with so many threads; None leaves its own number."""
    before = torch.get_num_threads()
    if threads in (None, before):
        yield
        return
    assert threads is not None
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_pool() -> None:
    """Let torch have no second pool of threads, for networks beside each other: there are none.

    For a process that is the command's own; nobody can put it back.
    """
    if torch.get_num_interop_threads() > 1:
        with suppress(RuntimeError):  # somebody has used the pool already
            torch.set_num_interop_threads(1)

"""How many workers a run has, and with how many threads each computes. No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from confiner_cli.config.job import Job
from confiner_cli.costs.parallel import busy_threads


@dataclass(frozen=True)
class Machine:
    """What workers share: this machine, or those of a cluster.

    Attributes:
        cpus: how many there are.
        gpus: how many there are that can be used; 0: workers compute on CPUs.
    """

    cpus: int
    gpus: int


def shared_out(jobs: Sequence[Job], machine: Machine) -> tuple[int, int]:
    """How many workers there are, and with how many threads each computes.

    A number that a person has asked for is taken. Else a GPU has a worker; and CPUs are divided, as
    far as the networks keep the threads of one worker busy.
    """
    asked = jobs[0].settings.workers
    busy = busy_threads(jobs[0], len(jobs))
    threads = _asked_threads(jobs[0])
    count = asked or machine.gpus
    if not count:
        count = max(1, machine.cpus // (threads or int(min(busy, machine.cpus))))
    return count, threads or max(1, int(min(busy, machine.cpus // count)))


def _asked_threads(job: Job) -> int | None:
    """What `threads=` says, else what a person has told torch."""
    if isinstance(job.settings.threads, int):
        return job.settings.threads
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else None


def gpus_here(job: Job) -> int:
    """The GPUs of this machine that a job may use. Imports torch where it may be one."""
    device = job.settings.device
    if device not in ("auto", "cuda"):
        return int(device.startswith("cuda:"))
    import torch

    return torch.cuda.device_count()

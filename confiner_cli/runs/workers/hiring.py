"""How many workers a run has, with how many threads each, and where they are. No torch.

Workers start at once: they import what they need while the driver goes on with its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confiner_cli.config.job import Job
from confiner_cli.config.schema import HERE, PROCESSES
from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.costs.parallel import busy_threads
from confiner_cli.errors import ConfinerError

if TYPE_CHECKING:
    from confiner_cli.runs.hands import Hands


@dataclass(frozen=True)
class Machine:
    """What workers share: this machine, or those of a cluster.

    Attributes:
        cpus: how many there are.
        gpus: how many there are that can be used; 0: workers compute on CPUs.
    """

    cpus: int
    gpus: int


def hands_for(jobs: Sequence[Job]) -> AbstractContextManager[Hands | None]:
    """Workers for jobs, started, and ended with the body; None where this process does it all.

    Raises:
        ConfinerError: there are none to be had, or not so many.
    """
    settings = jobs[0].settings
    if settings.executor == HERE:
        return nullcontext(None)
    if settings.executor == PROCESSES:
        return _processes(jobs)
    from confiner_cli.runs.workers.ray_actors import ray_crew

    return ray_crew(jobs)


def _processes(jobs: Sequence[Job]) -> AbstractContextManager[Hands | None]:
    from confiner_cli.runs.workers.processes import ProcessWorker, begin_to_import

    begin_to_import()
    machine = Machine(usable_cpus(), gpus_here(jobs[0]))
    count, threads = shared_out(jobs, machine)
    if machine.gpus and count > machine.gpus:
        raise ConfinerError(
            f"workers={count} are more than the GPUs here ({machine.gpus}): each needs its own",
            f"workers={machine.gpus}, or leave it out",
        )
    from confiner_cli.runs.workers.crew import Crew

    return Crew(ProcessWorker, count, threads, machine.gpus > 0)


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

"""Workers for a run, started where they are to be: on this machine, or on those of a Ray cluster.

They start at once: they import what they need while the driver goes on with its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from confiner_cli.config.job import Job
from confiner_cli.config.schema import HERE, PROCESSES
from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.errors import ConfinerError
from confiner_cli.runs.workers.sharing import Machine, gpus_here, shared_out

if TYPE_CHECKING:
    from confiner_cli.runs.hands import Hands


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
    from confiner_cli.runs.workers.processes import NEW, ProcessWorker, importing

    # While this process looks for GPUs, workers import, unless it is known that there are some.
    context = NEW if jobs[0].settings.device.startswith("cuda") else importing()
    machine = Machine(usable_cpus(), gpus_here(jobs[0]))
    count, threads = shared_out(jobs, machine)
    if machine.gpus and count > machine.gpus:
        raise ConfinerError(
            f"workers={count} are more than the GPUs here ({machine.gpus}): each needs its own",
            f"workers={machine.gpus}, or leave it out",
        )
    from confiner_cli.runs.workers.crew import Crew

    # One that a person has named is the only one: there it stays.
    each_its_own = machine.gpus > 0 and ":" not in jobs[0].settings.device
    hire = partial(ProcessWorker, NEW if machine.gpus else context)
    return Crew(hire, count, threads, each_its_own)

"""Workers that are actors of a Ray cluster, or of an instance of Ray that is started for the run.

Latents and frames travel as results; nothing is written on a disk that machines share. Each machine
has to have the files of the experts, and confiner itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confiner_cli.config.job import Job
from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.errors import ConfinerError, first_line
from confiner_cli.runs.workers.post import Post
from confiner_cli.runs.workers.sharing import Machine, shared_out
from confiner_cli.runs.workers.worker import WorkerDiedError

if TYPE_CHECKING:
    from confiner_cli.runs.workers.crew import Crew
    from confiner_cli.runs.workers.travelling import Message, Reply

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Nobody is told of runs; and where there is no GPU Ray leaves CUDA_VISIBLE_DEVICES alone."""
SECONDS_TO_ANSWER = 20
"""Of a cluster's first machine."""
LONGEST = 300
"""Characters of what Ray says."""
STORE = 256 * 2**20
"""Bytes of an instance's own store of results: those of a few chunks are on their way."""


@contextmanager
def ray_crew(jobs: Sequence[Job]) -> Iterator[Crew]:
    """Actors for jobs: one a GPU where the cluster has some.

    `RAY_ADDRESS` names the cluster; without it an instance is started here, and ended.

    Raises:
        ConfinerError: there is no Ray, or no cluster at that address.
    """
    ray = _imported()
    # Ray tells of a worker that died on stdout, where paths of videos are. The crew says it, too.
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), _connected(ray, jobs):  # noqa: PTH123
        machine = _cluster(ray, jobs[0])
        count, threads = shared_out(jobs, machine)
        needs = {"num_gpus": 1} if machine.gpus else {"num_cpus": min(threads, machine.cpus)}
        # A worker that dies is hired anew by the crew, which knows what it was at.
        actor = ray.remote(**needs, max_restarts=0, max_task_retries=0)(Post)
        from confiner_cli.runs.workers.crew import Crew

        with Crew(lambda: RayWorker(ray, actor), count, threads) as crew:
            yield crew


@dataclass
class RayWorker:
    """An actor. Ray starts it where there is room, and on another machine if that one is lost.

    Attributes:
        ray: the module.
        actor: its class, as Ray has it.
    """

    ray: Any
    actor: Any
    _handle: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._handle = self.actor.remote()

    def ask(self, message: Message) -> Future[Reply]:
        """See `Worker`."""
        answered: Future[Any] = self._handle.answer.remote(message).future()
        reply: Future[Reply] = Future()

        def pass_on(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                reply.set_result(done.result())
            elif isinstance(error, self.ray.exceptions.RayError):
                reply.set_exception(WorkerDiedError(_ending(error)))
            else:
                reply.set_exception(error)

        answered.add_done_callback(pass_on)
        return reply

    def dismiss(self) -> None:
        """See `Worker`."""
        self.ray.kill(self._handle, no_restart=True)


def _imported() -> Any:
    try:
        os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
        import ray
    except ImportError as error:
        raise ConfinerError(
            "executor=ray needs Ray, which is not installed",
            'pip install "confiner[ray]", or executor=processes on one machine',
        ) from error
    return ray


@contextmanager
def _connected(ray: Any, jobs: Sequence[Job]) -> Iterator[None]:
    """In the body Ray is there."""
    try:
        _connect(ray, jobs)
        yield
    finally:
        ray.shutdown()


def _connect(ray: Any, jobs: Sequence[Job]) -> None:
    address = os.environ.get("RAY_ADDRESS") or None
    own: dict[str, Any] = {}
    if address is None:
        wanted = jobs[0].settings.workers
        own = {"include_dashboard": False, "object_store_memory": STORE}
        if wanted is not None:
            _, threads = shared_out(jobs, Machine(usable_cpus(), 0))
            own["num_cpus"] = max(wanted * threads, usable_cpus())
    try:
        _knock(address)
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=True,
            **own,
        )
    except (OSError, ValueError, RuntimeError) as error:
        where = "here" if address is None else f"at RAY_ADDRESS={address}"
        raise ConfinerError(
            f"there is no Ray cluster {where}: {first_line(error)}",
            "start one (ray start --head), or unset RAY_ADDRESS for an instance of its own",
        ) from error


def _knock(address: str | None) -> None:
    """See whether anybody listens at an address. Ray itself would try for many minutes.

    Raises:
        OSError: nobody does.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()


def _cluster(ray: Any, job: Job) -> Machine:
    """What it has for a job."""
    found = ray.cluster_resources()
    on_cpu = job.settings.device == "cpu"
    return Machine(int(found.get("CPU", 1)), 0 if on_cpu else int(found.get("GPU", 0)))


def _ending(error: BaseException) -> str:
    """How Ray says that an actor ended: what, and, at the end, why."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(" ".join(dict.fromkeys((lines[0], lines[-1]))).split())[:LONGEST]

"""Workers that are actors of a Ray cluster, or of an instance of Ray that is started for the run.

Latents and frames travel as results; nothing is written on a disk that machines share. Each machine
has to have the files of the experts, and confiner itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confiner_cli.config.job import Job
from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.errors import ConfinerError
from confiner_cli.runs.workers.post import Post
from confiner_cli.runs.workers.ray_cluster import Cluster, OwnRay, ray_cluster
from confiner_cli.runs.workers.sharing import Machine, shared_out
from confiner_cli.runs.workers.worker import WorkerDiedError

if TYPE_CHECKING:
    from confiner_cli.runs.workers.crew import Crew
    from confiner_cli.runs.workers.travelling import Message, Reply

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
    with ray_cluster(_own(jobs)) as cluster:
        machine = _machine(cluster, jobs[0])
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
        import ray
    except ImportError as error:
        raise ConfinerError(
            "executor=ray needs Ray, which is not installed",
            'pip install "confiner[ray]", or executor=processes on one machine',
        ) from error
    return ray


def _own(jobs: Sequence[Job]) -> OwnRay:
    """What a Ray has that is started for jobs: room for as many workers as a person asks for."""
    wanted = jobs[0].settings.workers or 0
    _, threads = shared_out(jobs, Machine(usable_cpus(), 0))
    return OwnRay(max(wanted * threads, usable_cpus()), STORE)


def _machine(cluster: Cluster, job: Job) -> Machine:
    """What a cluster has for a job."""
    on_cpu = job.settings.device == "cpu"
    gpus = 0 if on_cpu else int(cluster.resources.get("GPU", 0))
    return Machine(int(cluster.resources.get("CPU", 1)), gpus)


def _ending(error: BaseException) -> str:
    """How Ray says that an actor ended: what, and, at the end, why."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(" ".join(dict.fromkeys((lines[0], lines[-1]))).split())[:LONGEST]

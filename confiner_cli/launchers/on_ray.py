"""`hydra/launcher=ray`: jobs of a sweep on Ray, by workers that keep their weights."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from confiner_cli.errors import ConfinerError
from confiner_cli.launchers.ray_cluster import Cluster
from confiner_cli.launchers.ray_workers import Workers
from confiner_cli.launchers.sent import SentSweep, numbered
from confiner_cli.launchers.stated import needed, stated_settings


@dataclass(frozen=True)
class RaySettings:
    """What `configs/hydra/launcher/ray.yaml` states.

    Attributes:
        address: of a cluster that runs, or `auto`; None: RAY_ADDRESS, or one of our own.
        workers: how many, 1 or more; None: as many as the cluster has room for.
        num_cpus, num_gpus: of a worker. None: one GPU where the cluster has any.
        max_retries: how often a job is tried again whose worker died.
    """

    address: str | None = None
    workers: int | None = None
    num_cpus: float = 1
    num_gpus: float | None = None
    max_retries: int = 3

    def checked(self) -> RaySettings:
        """Raises ConfinerError where a number is too small."""
        least = {"workers": 1, "num_cpus": 0, "num_gpus": 0, "max_retries": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ConfinerError(
                    f"hydra.launcher.{name}={value:g} is out of range",
                    f"hydra.launcher.{name}= takes {low} or more",
                )
        return self


class RayLauncher(Launcher):
    """Sends jobs to workers on Ray and waits for them; whoever ends it ends them.

    Workers stay from one batch of a sweep to the next.

    Args:
        settings: by the names of `RaySettings`.
    """

    def __init__(self, **settings: Any) -> None:
        self.stated: Mapping[str, Any] = settings
        self.settings = RaySettings()
        self.swept: SentSweep | None = None
        self.workers: Workers | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Raises ConfinerError where Ray is not installed or a setting is wrong."""
        self.settings = stated_settings(RaySettings, self.stated).checked()
        needed("ray", "ray")
        self.swept = SentSweep.of(hydra_context, config, task_function)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """What the jobs have returned, in their order.

        A job whose workers died again and again is told and is an error for Hydra in the end.

        Raises:
            ConfinerError: there is no such cluster, or it has no room for a worker.
        """
        jobs = numbered(job_overrides, initial_job_idx)
        if self.workers is None:
            self.workers = self._started()
        try:
            found = self.workers.carry_out(jobs)
        except BaseException:
            self.workers.close()
            raise
        return [found[job] for job in jobs]

    def _started(self) -> Workers:
        assert self.swept is not None
        settings = self.settings
        cluster = Cluster.joined(settings.address)
        try:
            room = cluster.room(settings.num_cpus, settings.num_gpus, settings.workers)
            workers = Workers(cluster, self.swept, room, settings.max_retries)
        except BaseException:
            cluster.leave()
            raise
        weakref.finalize(self, workers.close)
        return workers

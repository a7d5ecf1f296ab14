"""`hydra/launcher=ray`: jobs of a sweep on Ray, by workers that keep their weights."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from hydra.core.utils import JobReturn

from confiner_cli import progress
from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.errors import ConfinerError
from confiner_cli.launchers.launcher import SweepLauncher
from confiner_cli.launchers.ray_room import room_of
from confiner_cli.launchers.ray_workers import Workers
from confiner_cli.launchers.sent import SentJob
from confiner_cli.launchers.stated import needed
from confiner_cli.runs.workers.ray_cluster import OwnRay, ray_cluster

OBJECT_STORE = 80 * 2**20
"""Bytes for what goes between processes: configs alone. Less Ray does not take."""


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

    def check(self) -> None:
        """Raises ConfinerError where a number is too small."""
        least = {"workers": 1, "num_cpus": 0, "num_gpus": 0, "max_retries": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ConfinerError(
                    f"hydra.launcher.{name}={value:g} is out of range",
                    f"hydra.launcher.{name}= takes {low} or more",
                )


class RayLauncher(SweepLauncher[RaySettings]):
    """See `SweepLauncher`. Workers stay from one batch of a sweep to the next."""

    settings_type = RaySettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.workers: Workers | None = None
        self.joined = ExitStack()

    def check(self) -> None:
        """See `SweepLauncher`."""
        self.settings.check()
        needed("ray", "ray")

    def carry_out(self, jobs: Sequence[SentJob]) -> Mapping[SentJob, JobReturn]:
        """See `SweepLauncher`.

        Raises:
            ConfinerError: there is no such cluster, or it has no room for a worker.
        """
        if self.workers is None:
            self.workers = self._started()
        try:
            return self.workers.carry_out(jobs)
        except BaseException:
            self.joined.close()
            raise

    def _started(self) -> Workers:
        own, settings = OwnRay(usable_cpus(), OBJECT_STORE), self.settings
        with ExitStack() as stack:
            joined = ray_cluster(own, settings.address, "hydra.launcher.address")
            cluster = stack.enter_context(joined)
            room = room_of(cluster, settings.num_cpus, settings.num_gpus, settings.workers)
            progress.say(f"{room}; logs in {cluster.logs}")
            workers = Workers(cluster.logs, self.swept, room, settings.max_retries)
            stack.callback(workers.close)
            self.joined = stack.pop_all()
        weakref.finalize(self, self.joined.close)
        return workers

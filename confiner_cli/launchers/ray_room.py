"""How many workers of a size a Ray has room for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from confiner_cli.errors import ConfinerError
from confiner_cli.runs.workers.ray_cluster import Cluster


@dataclass(frozen=True)
class Room:
    """How many workers there are, and what each has.

    Attributes:
        workers: 1 or more.
        num_cpus, num_gpus: of each.
    """

    workers: int
    num_cpus: float
    num_gpus: float

    def __str__(self) -> str:
        return f"{self.workers} Ray workers ({self.num_cpus:g} CPUs, {self.num_gpus:g} GPUs each)"


def room_of(cluster: Cluster, num_cpus: float, num_gpus: float | None, workers: int | None) -> Room:
    """How many workers of such a size a cluster has room for, unless it is said.

    Args:
        cluster: that this process belongs to.
        num_cpus: of a worker.
        num_gpus: of a worker; None: one where the cluster has any.
        workers: as many as are wanted; None: as many as fit.

    Raises:
        ConfinerError: there is room for none.
    """
    cpus, gpus = (cluster.resources.get(name, 0) for name in ("CPU", "GPU"))
    if num_gpus is None:
        num_gpus = 1 if gpus else 0
    rooms = [there / size for there, size in ((cpus, num_cpus), (gpus, num_gpus)) if size]
    fit = math.floor(min(rooms, default=1))
    if not fit and workers is None:
        raise ConfinerError(
            f"Ray has no room for a worker: it has {cpus:g} CPUs and {gpus:g} GPUs",
            f"hydra.launcher.num_cpus={num_cpus:g} or num_gpus={num_gpus:g} is too much; "
            "where the cluster grows, say hydra.launcher.workers=",
        )
    return Room(workers or fit, num_cpus, num_gpus)

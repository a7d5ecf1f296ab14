"""A Ray that is joined, or started on this machine and ended again; quiet, without a dashboard."""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from confiner_cli import progress
from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.errors import ConfinerError, first_line

ADDRESS = "RAY_ADDRESS"
OBJECT_STORE = 80 * 2**20
"""Bytes for what goes between processes: configs alone. Less Ray does not take."""

ANSWER = 10
"""Seconds in which a cluster has to answer."""


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


@dataclass
class Cluster:
    """A Ray that this process belongs to.

    Attributes:
        logs: where what workers print lies.
        is_guest: whether this process had joined it before.
    """

    logs: str
    is_guest: bool = False

    @classmethod
    def joined(cls, address: str | None) -> Cluster:
        """Join the Ray at an address, or start one on this machine.

        Raises:
            ConfinerError: there is none at the address.
        """
        import ray

        if ray.is_initialized():
            return cls("Ray's session folder", is_guest=True)
        address = address or os.environ.get(ADDRESS) or "local"
        own = {} if address != "local" else {
            "num_cpus": usable_cpus(), "include_dashboard": False,
            "object_store_memory": OBJECT_STORE,
        }  # fmt: skip
        try:
            _check_there(address)
            with _quiet(), _handlers_kept():
                context = ray.init(address, log_to_driver=False, logging_level="ERROR", **own)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfinerError(
                f"there is no Ray at hydra.launcher.address={address}: {first_line(error)}",
                "start one (ray start --head), name another, or null for one on this machine",
            ) from error
        _keep_stdout()
        return cls(f"{context.address_info['session_dir']}/logs")

    def room(self, num_cpus: float, num_gpus: float | None, workers: int | None) -> Room:
        """How many workers of such a size the cluster has room for, unless it is said.

        Raises:
            ConfinerError: for none.
        """
        import ray

        there = ray.cluster_resources()
        gpus = there.get("GPU", 0)
        num_gpus = (1 if gpus else 0) if num_gpus is None else num_gpus
        asked = {"CPU": num_cpus, "GPU": num_gpus}
        rooms = [there.get(name, 0) / size for name, size in asked.items() if size]
        fit = math.floor(min(rooms, default=1))
        if not fit and workers is None:
            raise ConfinerError(
                f"Ray has no room for a worker: it has {there.get('CPU', 0):g} CPUs and "
                f"{gpus:g} GPUs",
                f"hydra.launcher.num_cpus={num_cpus:g} or num_gpus={num_gpus:g} is too much; "
                "where the cluster grows, say hydra.launcher.workers=",
            )
        return Room(workers or fit, num_cpus, num_gpus)

    def leave(self) -> None:
        """Leave it; it ends if it was started for this."""
        import ray

        if not self.is_guest:
            with _handlers_kept():
                ray.shutdown()

    def say(self, room: Room) -> None:
        """Say what there is."""
        each = f"{room.num_cpus:g} CPUs, {room.num_gpus:g} GPUs each"
        progress.say(f"{room.workers} Ray workers ({each}); logs in {self.logs}")


def _check_there(address: str) -> None:
    """Raises OSError where nobody listens: Ray would try again for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and "://" not in address and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()


def _keep_stdout() -> None:
    """Let Ray not print on stdout, which is for the paths of videos, that a worker has died.

    It has no setting for that, also not where what workers print stays with them.
    """
    from ray._private import worker

    worker.print_to_stdstream = lambda data, ignore_prefix: None


@contextmanager
def _quiet() -> Iterator[None]:
    """In the body Ray is told to send no statistics of use; what it starts inherits that."""
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("RAY_USAGE_STATS_ENABLED", None)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """In the body Ray sets its own handler of SIGTERM; ours is put back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)

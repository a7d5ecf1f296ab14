"""A Ray that is joined, or started on this machine and ended again; quiet, without a dashboard."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from confiner_cli.errors import ConfinerError, first_line

ADDRESS = "RAY_ADDRESS"
ANSWER = 20
"""Seconds in which a cluster's first machine has to answer."""
STATISTICS = "RAY_USAGE_STATS_ENABLED"


@dataclass(frozen=True)
class OwnRay:
    """What a Ray has that is started on this machine.

    Attributes:
        num_cpus: how many workers of one CPU it has room for.
        object_store_memory: bytes for what goes between processes, 80 MiB or more.
    """

    num_cpus: int
    object_store_memory: int


@dataclass(frozen=True)
class Cluster:
    """A Ray that this process belongs to.

    Attributes:
        logs: where what workers print lies.
        resources: what it has: numbers of `CPU`, `GPU` and others.
    """

    logs: str
    resources: Mapping[str, float]


@contextmanager
def ray_cluster(own: OwnRay, address: str | None = None, word: str = ADDRESS) -> Iterator[Cluster]:
    """In the body this process belongs to a Ray; one that it belonged to before stays joined.

    Args:
        own: what is started where no address is known.
        address: of a cluster that runs, or `auto`; None: RAY_ADDRESS, if there is one.
        word: how a person says the address.

    Raises:
        ConfinerError: there is none at the address.
    """
    import ray

    if ray.is_initialized():
        yield Cluster("Ray's session folder", ray.cluster_resources())
        return
    with _quiet():
        logs = _joined(own, address or os.environ.get(ADDRESS) or "local", word)
        try:
            yield Cluster(logs, ray.cluster_resources())
        finally:
            with _handlers_kept():
                ray.shutdown()


def _joined(own: OwnRay, address: str, word: str) -> str:
    """Join a Ray, or start one. Returns where its logs are."""
    import ray

    started = vars(own) | {"include_dashboard": False} if address == "local" else {}
    try:
        _check_there(address)
        with _handlers_kept():
            context = ray.init(address, log_to_driver=False, logging_level="ERROR", **started)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfinerError(
            f"there is no Ray at {word}={address}: {first_line(error)}",
            "start one (ray start --head), name another, or none: then one is started here",
        ) from error
    _keep_stdout()
    return f"{context.address_info['session_dir']}/logs"


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
    if STATISTICS in os.environ:
        yield
        return
    os.environ[STATISTICS] = "0"
    try:
        yield
    finally:
        os.environ.pop(STATISTICS, None)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """In the body Ray sets its own handler of SIGTERM; ours is put back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)

"""Jobs that a command carries out: what is missing of their experts is downloaded first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from confiner_cli.config.job import Job
from confiner_cli.config.schema import HERE
from confiner_cli.experts.lean_imports import import_libraries
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.runs.downloads import download_missing
from confiner_cli.runs.folder import RunFolder
from confiner_cli.runs.provenance import is_finished

NO_WEIGHTS: Mapping[str, Any] = MappingProxyType({})


def carry_out(
    jobs: Sequence[Job],
    place: RunFolder,
    snapshots: Mapping[str, str],
    networks: NetworkCache,
    recorded_weights: Mapping[str, Any] = NO_WEIGHTS,
) -> list[Path]:
    """Make the videos of jobs that differ in their seeds alone.

    Args, returns and raises as `runs.execute.execute_jobs`.
    """
    settings = jobs[0].settings
    finished = settings.resume and place.exact and is_finished(place.root, settings)
    if settings.executor != HERE and not finished:
        return _by_workers(jobs, place, snapshots, networks, recorded_weights)
    # Slow to import: wrong values were told before.
    import_libraries()
    from confiner_cli.experts.compiling import check_compiler, keep_what_is_compiled
    from confiner_cli.experts.device import device_of
    from confiner_cli.runs.execute import execute_jobs
    from confiner_cli.runs.threads import one_pool

    one_pool()
    if settings.compile:
        keep_what_is_compiled()
    if not finished:
        # A device or a compiler that is not there is told before gigabytes are fetched.
        check_compiler(settings.compile, device_of(settings.device))
        download_missing(jobs[0])
    return execute_jobs(jobs, place, snapshots, networks, recorded_weights)


def _by_workers(
    jobs: Sequence[Job],
    place: RunFolder,
    snapshots: Mapping[str, str],
    networks: NetworkCache,
    recorded_weights: Mapping[str, Any],
) -> list[Path]:
    """The same, where this process hands the work out. It imports torch, and nothing of experts."""
    from confiner_cli.runs.workers.hiring import hands_for

    download_missing(jobs[0])
    with hands_for(jobs) as hands:
        from confiner_cli.runs.execute import execute_jobs

        return execute_jobs(jobs, place, snapshots, networks, recorded_weights, hands)

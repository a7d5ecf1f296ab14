"""Jobs that a command carries out: what is missing of their experts is downloaded first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from confiner_cli.config.job import Job
from confiner_cli.experts.lean_imports import import_libraries
from confiner_cli.experts.offload import NetworkCache
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
    # Slow to import: wrong values were told before.
    import_libraries()
    from confiner_cli.experts.compiling import check_compiler, keep_what_is_compiled
    from confiner_cli.experts.device import device_of
    from confiner_cli.runs.downloads import download_missing
    from confiner_cli.runs.execute import execute_jobs
    from confiner_cli.runs.threads import one_pool

    one_pool()
    settings = jobs[0].settings
    if settings.compile:
        keep_what_is_compiled()
    if not (settings.resume and place.exact and is_finished(place.root, settings)):
        # A device or a compiler that is not there is told before gigabytes are fetched.
        check_compiler(settings.compile, device_of(settings.device))
        download_missing(jobs[0])
    return execute_jobs(jobs, place, snapshots, networks, recorded_weights)

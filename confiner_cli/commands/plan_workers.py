"""What `confiner plan` says of a run on workers: a simulation with the run's own scheduler."""

from __future__ import annotations

import math
from collections.abc import Iterator

from confiner_cli.config.job import Job
from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.runs.job_graph import graph_of_job
from confiner_cli.runs.tasks import Kind
from confiner_cli.runs.workers.expected import expected, limits, stops_at
from confiner_cli.runs.workers.sharing import Machine, shared_out
from confiner_cli.runs.workers.simulation import Forecast, Seconds, simulate

SHOWN = (1, 2, 8, 64, 512)


def workers_lines(job: Job) -> Iterator[str]:
    """The seconds that are expected, for several numbers of workers, and where it ends.

    Args:
        job: whose settings ask for workers.
    """
    job = job.finite("a video without an end takes without an end")
    asked, threads = shared_out([job], Machine(usable_cpus(), 0))
    found = expected(job, threads)
    settings = job.settings
    if found is None:
        yield f"executor={settings.executor}: what its tasks take is not known before a first run"
        return
    graph, seconds = graph_of_job(job), found.seconds
    yield f"executor={settings.executor}, simulated; seconds a task {found.source}:"
    yield _seconds(seconds)
    one = simulate(graph, seconds, 1)
    counts = sorted({*SHOWN, *([asked] if settings.workers else [])})
    yield f"{'workers':>9}{'seconds':>10}{'speed-up':>10}{'efficiency':>12}{'first frames':>14}"
    for count in counts:
        yield _row(simulate(graph, seconds, count), one, is_asked=count == settings.workers)
    last = stops_at(graph, seconds)
    least, why = max(limits(graph, seconds))
    yield f"more than {last.workers} gain nothing: {why} ({least:.3g} s of {last.total:.3g})"


def _seconds(seconds: Seconds) -> str:
    shown = [f"{kind} {seconds.of[kind]:.3g}" for kind in Kind]
    return f"  {', '.join(shown)}; encoding {seconds.encode:.2g}, start {seconds.start:.2g}"


def _row(forecast: Forecast, one: Forecast, is_asked: bool) -> str:
    mark = "*" if is_asked else ""
    gain, share = one.total / forecast.total, 100 * forecast.efficiency
    first = f"{forecast.first:.1f}" if math.isfinite(forecast.first) else ""
    return (
        f"{mark + str(forecast.workers):>9}{forecast.total:>10.1f}{gain:>10.2f}{share:>10.0f} %"
        f"{first:>14}"
    )

"""What `confiner plan -m` says: the jobs of a sweep by what they cost, and all of them together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from confiner_cli.progress import amount

if TYPE_CHECKING:
    from confiner_cli.config.job import Job
    from confiner_cli.config.overrides import Overrides

NO_COST = ("prompt", "negative_prompt", "seed")
"""Keys whose values cost the same."""
TERA, AN_HOUR = 1e12, 3600


def sweep_lines(overrides: Overrides, lines: Callable[[Job], Iterator[str]]) -> Iterator[str]:
    """The jobs of a sweep: those that differ in prompts and seeds alone are told once.

    Args:
        overrides: the sweep's words.
        lines: what is said of one job.
    """
    from confiner_cli.config.hydra import settings_with
    from confiner_cli.config.resolve import resolve
    from confiner_cli.config.sweep_config import job_words
    from confiner_cli.runs.provenance import recorded_under

    recorded = recorded_under(overrides)
    swept = job_words(overrides.for_hydra())
    counts = [f"{_key(words)} ({len(words)})" for words in swept if len(words) > 1]
    jobs = math.prod(map(len, swept))
    yield f"{jobs} jobs: {', '.join(counts) or 'nothing is swept'}"
    costly = [words[:1] if _key(words) in NO_COST else words for words in swept]
    kinds = math.prod(map(len, costly))
    costs = []
    for words in product(*costly):
        title = [word for word, others in zip(words, costly, strict=True) if len(others) > 1]
        which = f"{jobs // kinds} with {' '.join(title)}, " if title else ""
        yield from ("", f"{which}each:")
        job = resolve(settings_with(words, recorded, overrides.source))
        yield from lines(job)
        costs.append(_cost(job))
    yield ""
    yield _together([cost.times(jobs // kinds) for cost in costs])


@dataclass(frozen=True)
class _Cost:
    """Of one job or more; None where nobody knows.

    Attributes:
        flops: operations.
        seconds: of one device.
        source: where these are from.
        disk: bytes of what is kept.
    """

    flops: float | None
    seconds: float | None
    source: str
    disk: float | None

    def times(self, count: int) -> _Cost:
        """Of so many jobs that cost the same."""
        flops, seconds, disk = (
            None if value is None else value * count
            for value in (self.flops, self.seconds, self.disk)
        )
        return _Cost(flops, seconds, self.source, disk)


def _cost(job: Job) -> _Cost:
    from confiner_cli.costs.cpus import usable_cpus
    from confiner_cli.costs.estimate import rows
    from confiner_cli.runs.job_graph import graph_of_job
    from confiner_cli.runs.workers.expected import expected
    from confiner_cli.runs.workers.sharing import Machine, shared_out
    from confiner_cli.runs.workers.simulation import simulate

    known = [row.flops for row in rows(job)]
    flops = None if None in known else sum(filter(None, known))
    if math.isinf(job.num_frames):
        return _Cost(None, None, "", None)
    _, threads = shared_out([job], Machine(usable_cpus(), 0))
    found = expected(job, threads)
    if found is None:
        return _Cost(flops, None, "", None)
    seconds = simulate(graph_of_job(job), found.seconds.warm(), 1).total
    disk = found.disk * job.num_frames if found.disk else None
    return _Cost(flops, seconds, found.source, disk)


def _together(costs: Sequence[_Cost]) -> str:
    """In all: operations, hours, disk."""
    flops = _sum([cost.flops for cost in costs])
    seconds = _sum([cost.seconds for cost in costs])
    disk = _sum([cost.disk for cost in costs])
    told = ["operations unknown" if flops is None else f"{flops / TERA:.4g} TFLOP"]
    if seconds is None:
        told.append("hours unknown before a first run")
    else:
        sources = " and ".join(dict.fromkeys(cost.source for cost in costs))
        told.append(f"{seconds / AN_HOUR:.3g} hours one after another ({sources})")
    told.append(
        "disk unknown before a first run" if disk is None else f"{amount(int(disk))} on disk"
    )
    return f"in all: {', '.join(told)}"


def _sum(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(filter(None, values))


def _key(words: Sequence[str]) -> str:
    return words[0].lstrip("+").partition("=")[0]

"""How many threads the networks of a job keep busy. No torch.

To hand work to a thread and to wait for it takes a moment, hundreds of times a pass. Where a pass
is small, that is more than the thread gains.
"""

from __future__ import annotations

import math

from confiner_cli.config.job import Job
from confiner_cli.costs.table import costs

FLOPS_OF_A_THREAD = 8e9
"""What a thread should have to do in a pass, a fifth of a second: where each of two has 3e9 they
gain nothing over one, where each has 12e9 they do (docs/benchmarks.md)."""


def busy_threads(job: Job, batch: int = 1) -> float:
    """How many threads a job's largest pass is enough for, at least 1; `inf` where nobody knows.

    Args:
        job: what is to be made.
        batch: how many samples are in a pass.
    """
    largest = max(_pass_flops(job, role) for role in job.asked)
    if math.isinf(largest):
        return math.inf
    return max(1, batch * largest // FLOPS_OF_A_THREAD)


def _pass_flops(job: Job, role: str) -> float:
    cost = costs().get(job.experts[role].architecture or "")
    return math.inf if cost is None else cost.flops(job.timeline.length, *job.size)

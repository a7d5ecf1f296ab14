"""What a job lacks of its experts: fetched before it begins."""

from __future__ import annotations

from confiner_cli.config.job import Job
from confiner_cli.experts.spec import requirements
from confiner_cli.weights.download import fetch


def download_missing(job: Job) -> None:
    """Download what the experts of a job lack. Opens no socket where nothing is missing.

    Raises:
        ConfinerError: the hub cannot be reached, refuses or sends something else; or the disk is
            too small.
    """
    required = []
    for expert in job.experts.values():
        for _, requirement in requirements(expert):
            required.append((requirement, expert.licence))
    fetch(required)

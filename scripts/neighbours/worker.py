"""A process that makes the same videos whenever a line comes in, and says what they took.

    python -m neighbours.worker BATCH [key=value ...]

BATCH seeds are sampled together. Imports and the loading of weights are done before the first. For
each line on stdin there is one line of JSON on stdout, an `Answer`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TextIO

from confiner_cli.config.job import Job
from confiner_cli.config.resolve import resolve
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.runs.execute import execute_jobs
from confiner_cli.runs.folder import RunFolder
from confiner_cli.runs.memory_peak import held_bytes
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.runs.record import RunRecord, read_run
from neighbours.answer import Answer

PROMPT = "prompt=a red heart rising over the sea"


def main() -> None:
    batch, words = int(sys.argv[1]), sys.argv[2:]
    with answering() as answers, NetworkCache() as networks:
        made([resolve(settings_of_words([PROMPT, "num_frames=1"]))], networks)
        settings = settings_of_words([PROMPT, *words])
        jobs = [resolve(replace(settings, seed=seed)) for seed in range(batch)]
        print("ready", file=answers, flush=True)
        for _ in sys.stdin:
            print(json.dumps(asdict(measured(jobs, networks))), file=answers, flush=True)


@contextlib.contextmanager
def answering() -> Iterator[TextIO]:
    """Stdout for answers alone: what else is printed there goes to stderr."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        yield answers


def measured(jobs: Sequence[Job], networks: NetworkCache) -> Answer:
    """Make a run of these jobs."""
    before, held = cpu_seconds(), held_bytes()
    record = made(jobs, networks)
    return Answer(
        record.seconds["total"],
        record.threads,
        cpu_seconds() - before,
        held,
        record.peak_memory_bytes,
    )


def made(jobs: Sequence[Job], networks: NetworkCache) -> RunRecord:
    """The record of the first of jobs that are sampled together, made into new folders."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        paths = execute_jobs(jobs, RunFolder(Path(folder)), {}, networks)
        return read_run(paths[0].parent)


def cpu_seconds() -> float:
    """User's and system's, of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

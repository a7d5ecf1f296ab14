"""`hydra/launcher=joblib`: jobs of a sweep in several processes of this machine, kept by loky."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import JobReturn

from confiner_cli import progress
from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.launchers.launcher import SweepLauncher
from confiner_cli.launchers.local_workers import LocalWorkers
from confiner_cli.launchers.packs import share
from confiner_cli.launchers.sent import SentJob
from confiner_cli.launchers.stated import needed

THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class JoblibSettings:
    """What `configs/hydra/launcher/joblib.yaml` states.

    Attributes:
        n_jobs: how many processes, 1 or more; -1: as many as there are CPUs.
        max_retries: how often a job is tried again that was at work when a worker died.
    """

    n_jobs: int = -1
    max_retries: int = 3

    def processes(self) -> int:
        """How many. Raises ConfinerError where the number is none of these."""
        if self.n_jobs != -1 and self.n_jobs < 1:
            raise ConfinerError(
                f"hydra.launcher.n_jobs={self.n_jobs} is out of range",
                "hydra.launcher.n_jobs= takes 1 or more, or -1: as many as there are CPUs",
            )
        return usable_cpus() if self.n_jobs == -1 else self.n_jobs


class JoblibLauncher(SweepLauncher[JoblibSettings]):
    """See `SweepLauncher`. Processes stay from one batch of a sweep to the next."""

    settings_type = JoblibSettings

    def check(self) -> None:
        """See `SweepLauncher`."""
        self.settings.processes()
        needed("joblib", "joblib")

    def carry_out(self, jobs: Sequence[SentJob]) -> Mapping[SentJob, JobReturn]:
        """See `SweepLauncher`."""
        processes = self.settings.processes()
        # A person's own number of threads holds in each; else they share the CPUs.
        threads = os.environ.get(THREADS) or str(max(1, usable_cpus() // processes))
        with tempfile.TemporaryDirectory(prefix="confiner-") as name:
            folder = Path(name)
            share(folder, self.swept)
            return self._carried_out(LocalWorkers(folder, processes, {THREADS: threads}), jobs)

    def _carried_out(
        self, workers: LocalWorkers, jobs: Sequence[SentJob]
    ) -> Mapping[SentJob, JobReturn]:
        """As `carry_out`. Which of the jobs at work a worker died of, nobody knows.

        So all of them are tried again, and the last time each alone.
        """
        found: dict[SentJob, JobReturn] = {}
        died: Counter[SentJob] = Counter()
        most = self.settings.max_retries
        while left := [job for job in jobs if job not in found]:
            together = [job for job in left if died[job] < max(1, most)]
            for job in workers.carry_out(together or left[:1], found):
                died[job] += 1
                if died[job] > most:
                    found[job] = self._lost(job, died[job])
                else:
                    progress.say(f"job {job.name} is tried again: a process was killed")
        return found

    def _lost(self, job: SentJob, times: int) -> JobReturn:
        often = f", {times} times" if times > 1 else ""
        error = FailedError(
            f"its process was killed before it was done{often}: by the system, if memory was short",
            "fewer at once: hydra.launcher.n_jobs=",
        )
        return self.swept.lost(job, error)

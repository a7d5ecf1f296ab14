"""Jobs of a sweep in one process, one after another: what SLURM is given to run.

What a job returns lies in a file before the next begins. Whatever ends the process, the pack goes
on with the job that it was at when SLURM starts it again.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from confiner_cli.errors import Terminated
from confiner_cli.files import atomic_write
from confiner_cli.launchers.sent import SentJob, SentSweep
from confiner_cli.runs.signals import stoppable
from confiner_cli.runs.wait_policy import wait_asleep

SHARED = "sweep.pkl"
TERMINATED = 143


@dataclass(frozen=True)
class Pack:
    """A callable that pickles, small: what all packs share is in a file.

    Attributes:
        folder: of the launch; it is on a disk that the workers have, too.
        jobs: one or more.
    """

    folder: Path
    jobs: tuple[SentJob, ...]

    def __call__(self) -> None:
        """Carry the jobs out, but for those that are done.

        SLURM ends a process by SIGTERM: the job that it is at is written down as interrupted.
        """
        wait_asleep()  # torch comes with the sweep
        swept = read_shared(self.folder)
        try:
            with stoppable():
                for job in self.jobs:
                    if not returned_file(self.folder, job).exists():
                        _dump(returned_file(self.folder, job), swept.run(job))
        except Terminated:
            raise SystemExit(TERMINATED) from None

    def checkpoint(self) -> Any:
        """What submitit starts in the place of a pack whose time is up: the same one."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def packed(folder: Path, jobs: Sequence[SentJob], size: int) -> list[Pack]:
    """The jobs in packs of so many."""
    starts = range(0, len(jobs), size)
    return [Pack(folder, tuple(jobs[start : start + size])) for start in starts]


def share(folder: Path, swept: SentSweep) -> None:
    """Write down what all packs share: Hydra's resolvers are no plain pickle."""
    import cloudpickle

    with atomic_write(folder / SHARED) as path:
        path.write_bytes(cloudpickle.dumps(swept))


def read_shared(folder: Path) -> SentSweep:
    """What all packs share."""
    swept: SentSweep = pickle.loads((folder / SHARED).read_bytes())  # noqa: S301
    return swept


def returned_file(folder: Path, job: SentJob) -> Path:
    """Where that lies what a job returned."""
    return folder / f"{job.number}.returned"


def read_returned(folder: Path, job: SentJob) -> JobReturn:
    """What a job returned."""
    returned: JobReturn = pickle.loads(returned_file(folder, job).read_bytes())  # noqa: S301
    return returned


def _dump(path: Path, returned: JobReturn) -> None:
    with atomic_write(path) as writing:
        writing.write_bytes(pickle.dumps(returned))

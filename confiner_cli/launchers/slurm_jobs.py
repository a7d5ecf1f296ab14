"""A launch on SLURM: its jobs are submitted, waited for, and cancelled where that is broken off."""

from __future__ import annotations

import io
import shutil
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn

from confiner_cli import progress
from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.files import atomic_write
from confiner_cli.launchers import slurm_queue
from confiner_cli.launchers.packs import Pack, packed, read_returned, returned_file, share
from confiner_cli.launchers.sent import SentJob, SentSweep
from confiner_cli.launchers.slurm_queue import State
from confiner_cli.launchers.slurm_settings import SlurmSettings

NUMBERS = "jobs"
"""The file in `<sweep>/.slurm` with the numbers of the jobs that have been started."""
BETWEEN_LOOKS = 0.5
BETWEEN_QUESTIONS = 3.0
"""Seconds after which SLURM is asked again what its jobs are doing."""
GRACE = 5.0
"""Seconds that a file of an ended job may take to be seen on a disk that machines share."""
GONE = 45.0
"""Seconds in which cancelled jobs should be gone: SLURM's own KillWait is 30."""
USUAL = frozenset({
    "", "None", "Priority", "Resources", "BeginTime", "Dependency", "JobArrayTaskLimit", "Cleaning",
})  # fmt: skip
"""Reasons for which jobs wait that pass by themselves."""
FORGOTTEN = State("forgotten", "SLURM knows it no more")


def cancel_earlier(folder: Path) -> None:
    """Cancel what is left of an earlier launch, whose parent was killed; its work is gone on with.

    Raises:
        ConfinerError: it does not end.
    """
    with suppress(FileNotFoundError):
        numbers = (folder / NUMBERS).read_text(encoding="utf-8").split()
        left = slurm_queue.states(numbers) or {}
        if all(state.is_ended for state in left.values()):
            return
        progress.say(f"cancelling SLURM's jobs of an earlier launch: {' '.join(numbers)}")
        if not slurm_queue.cancel(numbers, GONE):
            raise ConfinerError(
                "jobs of an earlier launch of this sweep still run",
                f"scancel {' '.join(numbers)}, then the same again",
            )


@dataclass
class Launch:
    """One call of the launcher.

    Attributes:
        sweep: whose jobs they are.
        folder: of this launch: logs, and what jobs return.
        numbers: of SLURM's jobs or arrays.
        packs: by the number of SLURM's job.
    """

    sweep: SentSweep
    folder: Path
    numbers: list[str] = field(default_factory=list)
    packs: dict[str, Pack] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def in_folder(cls, root: Path, swept: SentSweep) -> Iterator[Launch]:
        """A launch with a folder below `root`; its jobs are cancelled if the body is broken off."""
        folder = next(path for path in map(root.joinpath, _names()) if not path.exists())
        folder.mkdir(parents=True)
        share(folder, swept)
        launch = cls(swept, folder)
        try:
            yield launch
        except BaseException:
            if launch.numbers:
                progress.say(f"cancelling SLURM's jobs {' '.join(launch.numbers)}")
                slurm_queue.cancel(launch.numbers, GONE)
            raise
        finally:
            launch.clean()

    def submit(self, jobs: Sequence[SentJob], settings: SlurmSettings) -> None:
        """Hand jobs to SLURM, in arrays that are not longer than it takes.

        Raises:
            ConfinerError: it does not take them.
        """
        packs = packed(self.folder, jobs, settings.jobs_per_worker)
        longest = slurm_queue.longest_array()
        parameters = settings.parameters()
        for start in range(0, len(packs), longest):
            # One array after another: else more would run at once than are allowed to.
            after = {"dependency": f"afterany:{self.numbers[-1]}"} if self.numbers else {}
            array = packs[start : start + longest]
            with _undisturbed():  # a job that is started is known, and can be cancelled
                self._submit_array(array, {**parameters, **after}, settings.max_num_timeout)
        progress.say(
            f"SLURM's {'jobs' if len(self.numbers) > 1 else 'job'} {' '.join(self.numbers)}; "
            f"logs in {self.folder}"
        )

    def _submit_array(
        self, packs: Sequence[Pack], parameters: dict[str, Any], timeouts: int
    ) -> None:
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            executor = SlurmExecutor(self.folder, max_num_timeout=timeouts)
            executor.update_parameters(**parameters)
            # What sbatch says against the jobs is in the error, too.
            with slurm_queue.outside_of_a_job(), redirect_stderr(io.StringIO()):
                submitted = executor.submit_array(packs)
        except (FailedJobError, FailedSubmissionError) as error:
            raise _refused(error) from error
        self.packs.update({job.job_id: pack for job, pack in zip(submitted, packs, strict=True)})
        self.numbers.append(submitted[0].job_id.partition("_")[0])
        with atomic_write(self.folder.parent / NUMBERS) as path:
            path.write_text("\n".join(self.numbers), encoding="utf-8")

    def wait(self) -> dict[SentJob, JobReturn]:
        """What the jobs have returned, once all have or are lost, which is told."""
        found: dict[SentJob, JobReturn] = {}
        watch = _Watch(self.numbers)
        left = dict(self.packs)
        while left:
            self._collect(left, found)
            for number, state in watch.ended(left).items():
                self._collect(left, found)
                if number in left:
                    jobs = [job for job in left.pop(number).jobs if job not in found]
                    error = self._lost(number, state)
                    found.update({job: self.sweep.lost(job, error) for job in jobs})
            if left:
                time.sleep(BETWEEN_LOOKS)
        return found

    def _collect(self, left: dict[str, Pack], found: dict[SentJob, JobReturn]) -> None:
        """Read what has been returned; packs that are done are left no more."""
        names = {path.name for path in self.folder.iterdir()}
        for number, pack in list(left.items()):
            for job in pack.jobs:
                if job not in found and returned_file(self.folder, job).name in names:
                    found[job] = read_returned(self.folder, job)
            if all(job in found for job in pack.jobs):
                del left[number]

    def _lost(self, number: str, state: State) -> ConfinerError:
        log = self.folder / f"{number}_0_log.out"
        last = _last_line(log)
        return FailedError(
            f"SLURM's job {number} ended before it was done: {state}{f': {last}' if last else ''}",
            f"its log is {log}",
        )

    def clean(self) -> None:
        """Remove what was only for the jobs to read, and the folder if there are no logs in it."""
        for path in [*self.folder.glob("*.pkl"), *self.folder.glob("*.returned")]:
            path.unlink(missing_ok=True)
        for path in self.folder.glob(".submission_file_*"):
            path.unlink(missing_ok=True)
        if not self.numbers:
            shutil.rmtree(self.folder)
            with suppress(OSError):
                self.folder.parent.rmdir()


class _Watch:
    """Asks SLURM at times which jobs have ended, and says so a while later."""

    def __init__(self, numbers: Sequence[str]) -> None:
        self.numbers = numbers
        self.asked = time.monotonic()
        self.since: dict[str, float] = {}
        self.said: set[str] = set()

    def ended(self, left: dict[str, Pack]) -> dict[str, State]:
        """Jobs of those that are left which have ended a while ago, and how."""
        now = time.monotonic()
        if now - self.asked < BETWEEN_QUESTIONS:
            return {}
        self.asked = now
        states = slurm_queue.states(self.numbers)
        if states is None:  # it is away, and its jobs go on
            return {}
        self._say_why(states[number] for number in left if number in states)
        ended = {
            number: state
            for number in left
            if (state := states.get(number, FORGOTTEN)) is FORGOTTEN or state.is_ended
        }
        self.since = {number: self.since.get(number, now) for number in ended}
        late = {number for number, since in self.since.items() if now - since > GRACE}
        return {number: ended[number] for number in late}

    def _say_why(self, states: Iterable[State]) -> None:
        """Say once of each reason for which jobs wait that it does not pass by itself."""
        reasons = {state.reason for state in states if state.name == "PENDING"}
        for reason in sorted(reasons - USUAL - self.said):
            progress.say(f"SLURM lets jobs wait: {reason} (squeue --me)")
        self.said |= reasons


def _names() -> Iterator[str]:
    number = 0
    while True:
        yield f"launch-{number}"
        number += 1


@contextmanager
def _undisturbed() -> Iterator[None]:
    """In the body Ctrl-C and SIGTERM wait until it is left, also in processes that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _refused(error: Exception) -> ConfinerError:
    said = [line for line in str(error).splitlines() if "error:" in line] or [str(error)]
    why = [" ".join((line.partition("error:")[2] or line).split()) for line in said]
    return ConfinerError(
        f"SLURM does not take the jobs: {'; '.join(dict.fromkeys(why))}",
        "set hydra.launcher.partition=, account=, gpus_per_node= (null for none), cpus_per_task=, "
        "mem= or timeout_min= as your cluster has them: sinfo shows its partitions",
    )


def _last_line(log: Path) -> str:
    """What the log says last, or nothing."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")

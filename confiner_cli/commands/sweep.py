"""`confiner generate -m`: a job for each combination of values, kept going after a failure.

A sweep goes on where it was stopped: `confiner resume SWEEP_DIR`, or the same command with
`resume=true output.dir=SWEEP_DIR`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from confiner_cli import progress
from confiner_cli.commands.sweep_live import LiveTable
from confiner_cli.commands.sweep_table import print_table
from confiner_cli.commands.sweep_watch import Display, Lines, SweepWatch
from confiner_cli.config.hydra import as_setting, values_of
from confiner_cli.config.hydra_sweep import Swept, swept
from confiner_cli.config.job_number import with_number
from confiner_cli.config.jobs import Jobs, check, jobs_of
from confiner_cli.config.overrides import Overrides, Word
from confiner_cli.errors import ConfinerError, FailedError, Terminated, first_line
from confiner_cli.launchers.registered import register_launchers
from confiner_cli.runs.objective import check_objective
from confiner_cli.sweeps.job import SweepJob, this_process
from confiner_cli.sweeps.networks import closing_networks
from confiner_cli.sweeps.record import (
    SweepRecord,
    differences,
    has_sweep,
    key_of,
    merged,
    read_sweep,
    record_for,
)
from confiner_cli.sweeps.root import finished, resume_sweep_command, sweep_root

FOUND = "optimization_results.yaml"
"""Where Hydra's sweepers that look for the best say what it is."""


def sweep(
    overrides: Overrides, recorded: Mapping[str, Any] | None, weights: Mapping[str, Any]
) -> int:
    """Run all jobs; however the sweep ends, there is a table of those that began.

    Args:
        overrides: the sweep's words.
        recorded: values of the record that `from=` names.
        weights: those that the record states.

    Returns:
        The exit code: 1 if a job failed.
    """
    if not overrides.names_prompt:
        raise ConfinerError(
            "prompt is empty",
            'say what the videos show: prompt="a red heart rising" prompt="..."',
        )
    _refuse_endless(overrides)
    words = _batched(overrides).for_hydra()
    record = record_for(words, overrides.source, recorded, weights)
    chosen = _chosen_root(overrides)
    if not _resumes(overrides):
        return _run(record, chosen)
    if chosen is None:
        raise ConfinerError(
            "resume=true does not know which sweep to go on with", "name it: output.dir=SWEEP_DIR"
        )
    return resume_sweep(Path(chosen).expanduser().absolute(), record)


def resume_sweep(root: Path, asked: SweepRecord | None = None) -> int:
    """Go on with the sweep in a folder, or begin the one that is asked for if there is none.

    Args:
        root: its folder.
        asked: the sweep as it is asked for; None is as it was.

    Returns:
        The exit code, as `sweep`.

    Raises:
        ConfinerError: the sweep there is another one.
    """
    if asked is not None and not has_sweep(root):
        return _run(asked, str(root))
    record = read_sweep(root)
    if asked is not None:
        if changed := differences(record, asked):
            raise ConfinerError(
                f"{root} has another sweep: {'; '.join(changed)}",
                f"name a new output.dir=, or go on with it as it was: {resume_sweep_command(root)}",
            )
        record = merged(record, asked.words)
    return _run(replace(record, attempt=record.attempt + 1), str(root), resume=True)


def _run(record: SweepRecord, chosen: str | None, resume: bool = False) -> int:
    with _composed(record) as (hydra, jobs), sweep_root(chosen, resume) as root:
        kept = finished(root) if resume else {}
        record.write(root)
        sweep = _Sweep(root, record, hydra, jobs, kept)
        with closing_networks():
            return sweep.run()


@contextmanager
def _composed(record: SweepRecord) -> Iterator[tuple[Swept, Jobs | None]]:
    """The sweep as Hydra has composed it, and its jobs where they are known beforehand."""
    how = [word for word in record.words if key_of(word).startswith("hydra")]
    own = [word for word in record.words if word not in how]
    jobs = jobs_of(own)
    # All prompts of a long list would be read for nothing.
    first = own if jobs is None else list(jobs[0])
    with swept([*how, *first], record.recorded, record.source) as found:
        _check_objective(found)
        if found.is_basic and jobs is None:
            raise ConfinerError(
                "a range without steps is for a sweeper that chooses values in it",
                "hydra/sweeper=optuna, or list the values: seed=1,2,3",
            )
        if found.is_basic and jobs is not None:
            check(jobs, record.recorded, record.source)
            yield found, jobs
            return
    with swept([*how, *own], record.recorded, record.source) as found:
        yield found, None


def _check_objective(found: Swept) -> None:
    """Refuse an objective that no run has, and a sweeper that waits for one in vain."""
    if found.objective is not None:
        check_objective(found.objective)
    elif not found.is_basic:
        raise ConfinerError(
            "this sweeper chooses by a number of each job, and there is none",
            "objective=flicker (a measure), or a number of run.json: objective=seconds.total",
        )


@dataclass(frozen=True)
class _Sweep:
    """A sweep in its folder.

    Attributes:
        root: the folder, which is this process's.
        record: what is asked for.
        hydra: its sweeper and launcher.
        jobs: all of them; None where a sweeper chooses them as it goes.
        kept: the videos of those that an earlier attempt has finished, by number.
    """

    root: Path
    record: SweepRecord
    hydra: Swept
    jobs: Jobs | None
    kept: Mapping[int, list[Path]]

    def run(self) -> int:
        """Make what is left to make. Returns the exit code."""
        display, shown_by = self._display()
        watch = SweepWatch(self.root, self.record.attempt, display)
        failure: ConfinerError | None = None
        try:
            with watch:
                self._launch(watch, shown_by)
        except (KeyboardInterrupt, Terminated):
            self._end(watch)
            progress.say(f"to go on: {resume_sweep_command(self.root)}")
            raise
        except Exception as error:
            failure = self._named(error)
        failed = self._end(watch)
        if failure is not None:
            raise failure
        if failed:
            progress.say(f"to make these again: {resume_sweep_command(self.root)}")
            return 1
        return 0 if watch.unheard is None else watch.unheard.exit_code

    def _display(self) -> tuple[Display, str]:
        """How far it is, and whose jobs show it themselves: those of this process, in lines."""
        total = None if self.jobs is None else len(self.jobs) - len(self.kept)
        if self.jobs is not None:
            self._say_count(len(self.jobs))
        if progress.is_terminal():
            return LiveTable(self.root, total), ""
        return Lines(total), this_process()

    def _say_count(self, count: int) -> None:
        kept = f", {len(self.kept)} of them done before" if self.kept else ""
        progress.say(f"{count} {'job' if count == 1 else 'jobs'} in {self.root}{kept}")

    def _launch(self, watch: SweepWatch, shown_by: str) -> None:
        record = self.record
        job = SweepJob(
            self.root, record.attempt, record.recorded, record.source, record.weights, shown_by
        )
        register_launchers()
        if self.jobs is None:
            self.hydra.sweep(self.root, job)
            return
        for number in sorted(self.kept):
            watch.hand_over(*self.kept[number])
        jobs = self.jobs
        left = (number for number in range(len(jobs)) if number not in self.kept)
        self.hydra.launch((with_number(number, jobs[number]) for number in left), self.root, job)

    def _end(self, watch: SweepWatch) -> int:
        """Print the table. Returns how many jobs failed."""
        failed = max(print_table(self.root), len(watch.failed))
        if (self.root / FOUND).exists():
            progress.say(f"what the sweeper has found: {self.root / FOUND}")
        return failed

    def _named(self, error: Exception) -> ConfinerError:
        """What has ended a launcher or a sweeper before its jobs."""
        if isinstance(error, ConfinerError):
            return error
        return FailedError(
            f"the sweep was stopped: {type(error).__name__}: {first_line(error)}",
            f"to go on: {resume_sweep_command(self.root)}",
        )


def _resumes(overrides: Overrides) -> bool:
    """Whether `resume=true` is among the words.

    Raises:
        ConfinerError: it has several values.
    """
    for word in overrides.words:
        if word.key == "resume":
            values = [as_setting(word.key, value) for value in values_of(word.text)]
            if len(values) > 1:
                raise ConfinerError(f"{word.text} does not go with a sweep", "resume=true")
            return bool(values[0])
    return False


def _refuse_endless(overrides: Overrides) -> None:
    """Refuse a video without an end, before a folder is made."""
    for word in overrides.words:
        if word.key == "num_frames":
            values = [as_setting(word.key, value) for value in values_of(word.text)]
            if float("inf") in values:
                raise ConfinerError(f"{word.text} does not go with a sweep", "leave out -m")


def _batched(overrides: Overrides) -> Overrides:
    """With `batch=4`, the seeds of the sweep as lists of four: one job makes the runs of a list."""
    sizes = [values_of(word.text) for word in overrides.words if word.key == "batch"]
    if not sizes or sizes == [[1]]:
        return overrides
    seeds = [word for word in overrides.words if word.key == "seed"]
    (size, *others) = sizes[0]
    if others or type(size) is not int or size < 1:
        raise ConfinerError("batch= takes one whole number, 1 or more", "batch=4 seed=1,2,3,4")
    values = values_of(seeds[0].text) if seeds else []
    if not values or not all(type(value) is int for value in values):
        raise ConfinerError(
            f"batch={size} is for a sweep over seeds, and there are none", "seed=1,2,3,4"
        )
    lists = [values[start : start + size] for start in range(0, len(values), size)]
    text = ",".join(f"[{','.join(map(str, each))}]" for each in lists)
    word = Word(f"seeds={text}", "", "seeds", text)
    words = [word if each.key == "seed" else each for each in overrides.words]
    return replace(overrides, words=tuple(words))


def _chosen_root(overrides: Overrides) -> str | None:
    named = tuple(word for word in overrides.words if word.key == "output.dir")
    words = replace(overrides, words=named).for_hydra()
    if not words:
        return None
    values = values_of(words[0])
    if len(values) > 1:
        raise ConfinerError(
            f"{words[0]} names several folders",
            "one folder for the sweep: every job has its own inside",
        )
    return None if values[0] is None else str(values[0])

"""One job of a sweep, in whichever process a launcher carries it out.

It belongs in the folder of its number, which is its own in every attempt: what is finished there is
kept, what was begun is gone on with, what failed is made again.
"""

from __future__ import annotations

import functools
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from filelock import FileLock

from confiner_cli import progress
from confiner_cli.config.composer import Composer
from confiner_cli.config.hydra_sweep import SweptJob
from confiner_cli.config.job import Job
from confiner_cli.config.job_number import number_and_words
from confiner_cli.config.places import OURS, ConfigSource
from confiner_cli.config.prompts import slug
from confiner_cli.config.resolve import require_prompt, resolve
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError, named_error
from confiner_cli.runs.folder import RECORD, RunFolder
from confiner_cli.runs.jobs import carry_out
from confiner_cli.runs.logbook import Logbook
from confiner_cli.runs.objective import objective_of
from confiner_cli.runs.record import FORMAT, RunRecord, read_run
from confiner_cli.sweeps.networks import process_networks
from confiner_cli.sweeps.outcome import FOLDER, Outcome


@dataclass(frozen=True)
class SweepJob:
    """Carries out jobs of a sweep. It pickles, and holds no networks: these are the process's.

    Attributes:
        root: the sweep's folder.
        attempt: how often the sweep was begun or gone on with.
        recorded, source: as `hydra.compose` has them.
        weights: those of the record that the jobs repeat; empty where there is none.
        shown_by: the process that shows how far its jobs are, as `this_process` names it.
    """

    root: Path
    attempt: int = 1
    recorded: Mapping[str, Any] | None = None
    source: ConfigSource = OURS
    weights: Mapping[str, Any] = field(default_factory=dict)
    shown_by: str = ""

    def __call__(self, swept: SweptJob) -> float | None:
        """Make a job's videos, or what is left to make of them, and tell how it ended.

        Returns:
            What the sweeper asked for; None where it asked for nothing, or the job failed.
        """
        number, words = number_and_words(swept.words, swept.number)
        with _alone(self.root, number), progress.quiet(self.shown_by != this_process()):
            outcome = self._outcome(number, replace(swept, words=words))
        outcome.write(self.root, self.attempt)
        return outcome.objective

    def lost(self, swept: SweptJob, error: ConfinerError) -> None:
        """Tell that a launcher has lost a job."""
        number, _ = number_and_words(swept.words, swept.number)
        Outcome(number, error=error.lines()).write(self.root, self.attempt)

    def _outcome(self, number: int, swept: SweptJob) -> Outcome:
        place = RunFolder(self.root, prefix=str(number))
        prompt = ""
        try:
            begun = _begun(self.root, number)
            composed = self._composer.compose(swept.words)
            prompt = composed.settings.prompt
            jobs = list(_jobs(composed.settings, number, begun))
            snapshots = swept.snapshots(self._composer.yaml_of(composed))
            paths = carry_out(jobs, place, snapshots, process_networks(), self.weights)
            objective = _objective(paths, composed.settings.objective)
            return Outcome(number, tuple(map(str, paths)), objective=objective)
        except Exception as error:
            named = named_error(error)
            with suppress(OSError, ConfinerError):  # there may be no room for a record either
                _write_down_refusal(place, prompt, named)
            return Outcome(number, error=named.lines())

    @property
    def _composer(self) -> Composer:
        return _composer_of(self.source, _Recorded(self.recorded))


def this_process() -> str:
    """A name for this process that no other has."""
    return f"{os.getpid()} on {socket.gethostname()}"


@dataclass(frozen=True, eq=False)
class _Recorded:
    """Recorded values as a key: a process has those of one sweep at a time."""

    values: Mapping[str, Any] | None

    def __hash__(self) -> int:
        return hash(str(self.values))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Recorded) and self.values == other.values


@functools.lru_cache(maxsize=1)
def _composer_of(source: ConfigSource, recorded: _Recorded) -> Composer:
    """A process composes the jobs of one sweep after another."""
    return Composer(recorded.values, source)


@contextmanager
def _alone(root: Path, number: int) -> Iterator[None]:
    """Hold the lock of a job in the body.

    A process of an earlier attempt may yet be making it: a launcher's workers can outlive whoever
    began the sweep. What it finishes is waited for, and not made twice.
    """
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / f"{number}.lock"
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except TimeoutError:
        progress.say(f"job {number} is being made by an earlier attempt: waiting for it")
        lock.acquire(timeout=-1)
    except OSError:
        yield  # the disk has no locks, which the run's own says
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is ours
        lock.release()


def _jobs(settings: Settings, number: int, begun: Mapping[str, RunRecord]) -> Iterator[Job]:
    """The job of these settings, or one for each of several seeds; begun ones are gone on with.

    Raises:
        ConfinerError: settings that cannot be used, or runs of the same number with other ones.
    """
    require_prompt(settings)
    if settings.seed is None and not settings.seeds:
        drawn = [record.seed for record in begun.values()]
        settings = replace(settings, seed=drawn[0] if drawn else None)
    each = [replace(settings, seed=seed, seeds=[]) for seed in settings.seeds] or [settings]
    jobs = [resolve(one).finite("a video without an end does not go with a sweep") for one in each]
    names = [f"{number}-{slug(job.prompt)}-s{job.seed}" for job in jobs]
    for other in begun.keys() - set(names):
        raise ConfinerError(
            f"{other} is a job {number} with other values",
            "a sweeper that goes on has to choose what it chose before: give its sampler a seed, "
            "or begin anew in a new output.dir=",
        )
    for name, job in zip(names, jobs, strict=True):
        yield replace(job, settings=replace(job.settings, resume=name in begun))


def _objective(videos: Sequence[Path], name: str | None) -> float | None:
    """The number that a sweeper wants of a job: of a batch, the mean of its runs."""
    if name is None:
        return None
    return fmean(objective_of(video.parent, name) for video in videos)


def _begun(root: Path, number: int) -> dict[str, RunRecord]:
    """The records of a job's runs by the names of their folders, as an earlier attempt left them.

    What it refused before there was a run is removed, and folders that have no record yet.
    """
    names = [path.name for path in root.iterdir() if path.name.startswith(f"{number}-")]
    has_record = {name: (root / name / RECORD).is_file() for name in sorted(names)}
    records = {name: read_run(root / name) for name in has_record if has_record[name]}
    for name in names:
        if name not in records or not records[name].config:
            shutil.rmtree(root / name)
    return {name: record for name, record in records.items() if record.config}


def _write_down_refusal(place: RunFolder, prompt: str, error: ConfinerError) -> None:
    """A folder with a record for a job that was refused before it had one."""
    if any(place.root.glob(f"{place.prefix}-*/{RECORD}")):
        return
    record = RunRecord(
        format=FORMAT, status="failed", prompt=prompt, error=str(error), hint=error.hint
    )
    Logbook(place.create("failed"), record).update()

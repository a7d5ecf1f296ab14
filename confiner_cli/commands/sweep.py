"""`confiner generate -m`: a job for each combination of values, kept going after a failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from confiner_cli import progress
from confiner_cli.commands.jobs import carry_out
from confiner_cli.commands.results import hand_over
from confiner_cli.config.hydra import (
    HydraJob,
    as_setting,
    launch,
    values_of,
)
from confiner_cli.config.job import Job
from confiner_cli.config.jobs import CHECKED, count_checked
from confiner_cli.config.overrides import Overrides, Word
from confiner_cli.config.prompts import quoted
from confiner_cli.config.resolve import require_prompt, resolve
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError, named_error
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.launchers.registered import register_launchers
from confiner_cli.runs.folder import RECORD, RunFolder
from confiner_cli.runs.lock import in_use
from confiner_cli.runs.logbook import Logbook
from confiner_cli.runs.record import FORMAT, RunRecord, read_run

CLAIM = ".sweep"
NO_SWEEP = {
    "resume": (True, "resume one job: confiner resume JOB_DIR"),
    "num_frames": (float("inf"), "leave out -m"),
}
"""Values that go with a single run only, and what to do instead."""


def sweep(
    flags: list[str],
    overrides: Overrides,
    recorded: Mapping[str, Any] | None,
    weights: Mapping[str, Any],
) -> int:
    """Run all jobs; however the sweep ends, there is a table of those that began.

    Args:
        flags: Hydra's.
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
    _refuse(overrides)
    words = _batched(overrides).for_hydra()
    count = None if overrides.source.is_own else count_checked(words, recorded)
    failures: list[ConfinerError] = []
    with sweep_root(_chosen_root(overrides)) as root, NetworkCache() as networks:
        place = [f"hydra.sweep.dir={quoted(str(root))}"]
        if count is not None:
            progress.say(f"{count} {'job' if count == 1 else 'jobs'} in {root}")
            place.append(CHECKED)
        try:
            register_launchers()
            job = partial(sweep_job, networks, weights, failures)
            launch([*flags, *words, *place], job, recorded, overrides.source)
        finally:
            failed = print_table(root)
    if failed:
        return 1
    return failures[0].exit_code if failures else 0


def _refuse(overrides: Overrides) -> None:
    """Refuse values that do not go with a sweep, before a folder is made."""
    for word in overrides.words:
        if word.key in NO_SWEEP:
            refused, instead = NO_SWEEP[word.key]
            values = [as_setting(word.key, value) for value in values_of(word.text)]
            if refused in values:
                raise ConfinerError(f"{word.text} does not go with a sweep", instead)


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


def sweep_job(
    networks: NetworkCache, weights: Mapping[str, Any], failures: list[ConfinerError], job: HydraJob
) -> None:
    """One job of a sweep: its failure is told, written down and added, and the sweep goes on."""
    root, number = job.place()
    place = RunFolder(Path(root), prefix=str(number))
    try:
        jobs = _jobs(job.settings())
        hand_over(*carry_out(jobs, place, job.snapshots(), networks, weights))
    except Exception as error:
        named = named_error(error)
        failures.append(named)
        progress.say(f"job {number}: {named.lines()}")
        if not any(Path(root).glob(f"{number}-*/{RECORD}")):
            with suppress(OSError, ConfinerError):  # there may be no room for a record either
                _write_down_refusal(place, job.prompt, named)


def _jobs(settings: Settings) -> list[Job]:
    """The job of these settings, or one for each of several seeds."""
    if settings.resume:  # a config of the person's own may say so
        raise ConfinerError("resume=true does not go with a sweep", NO_SWEEP["resume"][1])
    require_prompt(settings)
    each = [replace(settings, seed=seed, seeds=[]) for seed in settings.seeds] or [settings]
    return [resolve(one).finite("a video without an end does not go with a sweep") for one in each]


def _write_down_refusal(place: RunFolder, prompt: str, error: ConfinerError) -> None:
    """A folder with a record for a job that was refused before it had one."""
    record = RunRecord(
        format=FORMAT, status="failed", prompt=prompt, error=str(error), hint=error.hint
    )
    Logbook(place.create("failed"), record).update()


@contextmanager
def sweep_root(chosen: str | None) -> Iterator[Path]:
    """The sweep's folder: the chosen one, or a new one with the time for a name.

    It goes if no job has begun in it.

    Raises:
        ConfinerError: it is not empty, or another sweep has claimed it.
    """
    place = RunFolder.of("multirun", chosen)
    new = [folder for folder in (place.root, *place.root.parents) if not folder.exists()]
    root = place.create()
    claim = root / CLAIM
    try:
        claim.touch(exist_ok=False)
    except FileExistsError as error:
        raise in_use(root) from error
    try:
        yield root
    finally:
        claim.unlink(missing_ok=True)
        if not any(root.glob(f"*/{RECORD}")):
            (root / "multirun.yaml").unlink(missing_ok=True)  # Hydra's
            with suppress(OSError):
                for folder in new if place.exact else [root, *new]:
                    folder.rmdir()


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


def print_table(root: Path) -> int:
    """Print how the jobs of a sweep ended, on stderr. Returns how many did not end well."""
    from rich import box
    from rich.table import Table

    folders = sorted((path.parent for path in root.glob(f"*/{RECORD}")), key=_in_order)
    if not folders:
        return 0
    table = Table("job", "status", "prompt", "seconds", "folder", box=box.SIMPLE)
    failed = 0
    for folder in folders:
        record = _record_in(folder)
        failed += record.status != "done"
        table.add_row(*_row(folder, record))
    console = progress.console(width=None if progress.is_terminal() else 160)
    console.print(table)
    console.print(f"{len(folders) - failed} of {len(folders)} done in {root}", soft_wrap=True)
    return failed


def _record_in(folder: Path) -> RunRecord:
    try:
        return read_run(folder)
    except ConfinerError as error:
        return RunRecord(status="damaged", error=str(error))


def _in_order(folder: Path) -> tuple[int, str]:
    return int(folder.name.partition("-")[0]), folder.name


def _row(folder: Path, record: RunRecord) -> tuple[str, str, str, str, str]:
    number = folder.name.partition("-")[0]
    status = f"{record.status}: {record.error}" if record.error else record.status
    total = record.seconds.get("total")
    seconds = "" if total is None else f"{total:.1f}"
    return number, status, " ".join(record.prompt.split()), seconds, folder.name

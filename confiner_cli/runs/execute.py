"""Jobs carried out on disk: a run folder for each, with the video and everything known about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any

import torch

from confiner_cli import progress
from confiner_cli.config.job import Job
from confiner_cli.config.prompts import slug
from confiner_cli.errors import ConfinerError, Terminated, named_error
from confiner_cli.experts.device import device_of
from confiner_cli.experts.identity import Weights
from confiner_cli.experts.loading_messages import is_harmless
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.experts.spec import requirements
from confiner_cli.media.contact_sheet import write_contact_sheet
from confiner_cli.runs import partial
from confiner_cli.runs.folder import RunFolder, resume_command, video_name
from confiner_cli.runs.freed_memory import keep_freed_memory
from confiner_cli.runs.loaded_pipeline import LoadedPipeline, load_pipeline
from confiner_cli.runs.lock import locked
from confiner_cli.runs.measuring import measure_run
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.open_run import OpenRun, open_run
from confiner_cli.runs.provenance import is_finished, plain
from confiner_cli.runs.render import Renderer, evaluations_left
from confiner_cli.runs.signals import unmasked
from confiner_cli.runs.tasks import Kind
from confiner_cli.runs.threads import computing_with, threads_of
from confiner_cli.runs.weights import changed_parts
from confiner_cli.weights import hub

ROWS = {Kind.PREVIEW: "structure", Kind.CHUNK: "result"}
"""What a contact sheet calls the frames of a kind."""
NO_WEIGHTS: Mapping[str, Any] = MappingProxyType({})


def execute_jobs(
    jobs: Sequence[Job],
    place: RunFolder,
    snapshots: Mapping[str, str],
    networks: NetworkCache,
    recorded_weights: Mapping[str, Any] = NO_WEIGHTS,
) -> list[Path]:
    """Make a folder and the video in it for each job, or go on with the runs there.

    Args:
        jobs: one, or several that differ in their seeds alone: they are sampled in one forward.
        place: where the folders go, or the one folder is.
        snapshots: files for `.hydra/`, by name.
        networks: where networks stay from job to job.
        recorded_weights: those of the record that the jobs repeat; empty where there is none.

    Returns:
        The absolute paths of each finished video.

    Raises:
        ConfinerError: with the status `failed` in run.json, or before there is a folder.
        KeyboardInterrupt, Terminated: with the status `interrupted`.
    """
    keep_freed_memory()
    device = device_of(jobs[0].settings.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # a sweep's jobs share the process
    meter = Meter(device=device)
    folders = [_created(job, place) for job in jobs]
    # Locked before it is looked whether they are done: another process may just be finishing them.
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(locked(folder))
        left = [
            (job, folder)
            for job, folder in zip(jobs, folders, strict=True)
            if not _is_done(job, folder)
        ]
        if left:
            name = _name_of(device)
            batch = len(left) if len(left) > 1 else 0
            runs: list[OpenRun] = []
            threads = computing_with(threads_of([job for job, _ in left]))
            with meter.memory.watched(), _ending(runs, meter), threads:
                for job, at in left:
                    runs.append(open_run(job, at, snapshots, meter, name, batch))
                _make(runs, meter, networks, recorded_weights)
            for run in runs:
                partial.remove(run.folder)
                _summarise(run)
    name = video_name(jobs[0].settings.output.format)
    return [folder / name for folder in folders]


def _created(job: Job, place: RunFolder) -> Path:
    return place.create(f"{slug(job.prompt)}-s{job.seed}", resume=job.settings.resume)


def _is_done(job: Job, folder: Path) -> bool:
    """Whether there is nothing to do; what a kill in the last moments has left is swept away."""
    if not (job.settings.resume and is_finished(folder, job.settings)):
        return False
    partial.remove(folder)
    progress.say(f"already done: {folder}")
    return True


def _make(
    runs: Sequence[OpenRun],
    meter: Meter,
    networks: NetworkCache,
    recorded_weights: Mapping[str, Any],
) -> None:
    """Load what the runs need, and make all that they are for."""
    started, said = monotonic(), len(networks.messages)
    compiled = len(networks.compile_seconds)
    loaded = load_pipeline([run.job for run in runs], networks)
    meter.add("load", monotonic() - started)
    for run in runs:
        _refuse_other_weights(run, loaded.weights)
        _tell_other_threads(run)
    for change in changed_parts(recorded_weights, loaded.weights):
        progress.say(f"notice: not the weights of the record: {change}")
    _notice(runs, loaded)
    try:
        _render(runs, loaded, meter)
    finally:
        if seconds := networks.compile_seconds[compiled:]:
            meter.add("compile", sum(seconds))
        # Networks are loaded when they are first called: now it is known what the libraries said.
        for message in dict.fromkeys(networks.messages[said:]):
            if not is_harmless(message):
                progress.say(f"notice: {' '.join(message.split())}")
            for run in runs:
                run.logbook.log(message)


def _render(runs: Sequence[OpenRun], loaded: LoadedPipeline, meter: Meter) -> None:
    """The videos, then what is made of them: contact sheets; latents and measures if wanted."""
    with progress.evaluations(evaluations_left(runs, loaded)) as tell:
        renderer = Renderer(runs, loaded, meter, tell)
        renderer.render()
    for run in runs:
        _write_down_length(run)
        rows = {ROWS[kind]: run.shown[kind] for kind in run.shown_kinds}
        write_contact_sheet(run.folder / "contact_sheet.png", run.job.prompt, rows)
    if runs[0].job.settings.output.save_latents:
        renderer.write_latents()
    if runs[0].job.settings.output.measure:
        for run in runs:
            measure_run(run)


def _write_down_length(run: OpenRun) -> None:
    """A video without an end has one now."""
    if run.num_frames != run.job.num_frames:
        ended = replace(run.job.settings, num_frames=run.num_frames)
        run.logbook.update(config=plain(ended), stopped_at=run.num_frames)


@contextmanager
def _ending(runs: Sequence[OpenRun], meter: Meter) -> Iterator[None]:
    """However runs end, run.json says how and what they have cost; errors are given their cure."""
    try:
        with unmasked():
            yield
        for run in runs:
            run.logbook.end("done", **meter.costs_after(run.earlier))
    except (KeyboardInterrupt, Terminated):
        for run in _unfinished(runs):
            with suppress(OSError):
                run.logbook.end("interrupted", **meter.costs_after(run.earlier))
            progress.say(f"to go on: {resume_command(run.folder)}")
        raise
    except Exception as error:
        memory = [run.logbook.record.memory or run.job.settings.memory for run in runs]
        named = named_error(error, meter.stage, *memory[:1])
        for run in _unfinished(runs):
            _write_down_failure(run, named, meter)
        if named is error:
            raise
        raise named from error


def _unfinished(runs: Sequence[OpenRun]) -> list[OpenRun]:
    """Of a batch, those whose end has not been written down."""
    return [run for run in runs if run.logbook.record.status != "done"]


def _write_down_failure(run: OpenRun, error: ConfinerError, meter: Meter) -> None:
    costs = meter.costs_after(run.earlier)
    with suppress(OSError):  # a full disk may have no room for this either
        run.logbook.end("failed", error=str(error), hint=error.hint, **costs)
        run.logbook.log(error.lines())
    if partial.has_latents(run.folder) and error.exit_code == ConfinerError.exit_code:
        progress.say(f"what is finished is kept; to go on afterwards: {resume_command(run.folder)}")


def _refuse_other_weights(run: OpenRun, weights: Mapping[str, Weights]) -> None:
    """A video that was begun with other weights is not gone on with."""
    for change in changed_parts(run.earlier.weights, weights):
        raise ConfinerError(
            f"{run.folder} was begun with other weights: {change}",
            "put the old file back, or begin anew in a new output.dir=",
        )


def _tell_other_threads(run: OpenRun) -> None:
    """As with other versions: sums are made in another order."""
    before, now = run.earlier.threads, torch.get_num_threads()
    if before not in (0, now) and run.logbook.record.device == "cpu":
        progress.say(
            f"notice: threads were {before} and are now {now}: what is made from here on may "
            "differ in its last bits"
        )


def _notice(runs: Sequence[OpenRun], loaded: LoadedPipeline) -> None:
    for notice in loaded.notices:
        progress.say(f"notice: {notice}")
    for run in runs:
        for notice in loaded.notices:
            run.logbook.log(notice)
        run.logbook.update(
            notices=loaded.notices,
            memory=loaded.policy.name,
            threads=torch.get_num_threads(),
            models=_models(run.job),
            weights=loaded.weights,
        )


def _models(job: Job) -> dict[str, str]:
    """The commits of the models that came from the hub: `main` is another one tomorrow."""
    commits: dict[str, str] = {}
    for expert in job.experts.values():
        for _, requirement in requirements(expert):
            commit = hub.commit_of(requirement, hub.cached(requirement))
            if commit:
                commits[str(requirement.ref)] = commit
    return commits


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _summarise(run: OpenRun) -> None:
    record = run.logbook.record
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in record.seconds.items())
    calls = ", ".join(f"{role} {count}" for role, count in record.evaluations.items() if count)
    memory = f"{record.peak_memory_bytes / 2**20:.0f} MiB"
    line = f"done: {seconds}; evaluations: {calls}; peak memory {memory}"
    progress.say(line)
    run.logbook.log(line)

"""Jobs carried out on disk: a run folder for each, with the video and everything known about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from confiner_cli import progress
from confiner_cli.config.job import Job
from confiner_cli.config.prompts import slug
from confiner_cli.errors import ConfinerError, Terminated, named_error
from confiner_cli.experts.loading_messages import is_harmless
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.experts.spec import requirements
from confiner_cli.media.contact_sheet import write_contact_sheet
from confiner_cli.runs import partial
from confiner_cli.runs.batch import BatchStore
from confiner_cli.runs.folder import RunFolder, resume_command, video_name
from confiner_cli.runs.freed_memory import keep_freed_memory
from confiner_cli.runs.hands import Hands, Witness
from confiner_cli.runs.job_graph import evaluations_left
from confiner_cli.runs.lock import locked
from confiner_cli.runs.measuring import measure_run
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.open_run import OpenRun, open_run
from confiner_cli.runs.provenance import is_finished, plain
from confiner_cli.runs.ready import Ready
from confiner_cli.runs.render import Renderer
from confiner_cli.runs.signals import unmasked
from confiner_cli.runs.tasks import Kind
from confiner_cli.runs.weights import changed_parts
from confiner_cli.runs.workers.measured import keep_seconds
from confiner_cli.weights import hub

if TYPE_CHECKING:
    from confiner_cli.experts.identity import Weights

ROWS = {Kind.PREVIEW: "structure", Kind.CHUNK: "result"}
"""What a contact sheet calls the frames of a kind."""
NO_WEIGHTS: Mapping[str, Any] = MappingProxyType({})


def execute_jobs(
    jobs: Sequence[Job],
    place: RunFolder,
    snapshots: Mapping[str, str],
    networks: NetworkCache,
    recorded_weights: Mapping[str, Any] = NO_WEIGHTS,
    hands: Hands | None = None,
) -> list[Path]:
    """Make a folder and the video in it for each job, or go on with the runs there.

    Args:
        jobs: one, or several that differ in their seeds alone: they are sampled in one forward.
        place: where the folders go, or the one folder is.
        snapshots: files for `.hydra/`, by name.
        networks: where networks stay from job to job.
        recorded_weights: those of the record that the jobs repeat; empty where there is none.
        hands: who does the work; None is this process.

    Returns:
        The absolute paths of each finished video.

    Raises:
        ConfinerError: with the status `failed` in run.json, or before there is a folder.
        KeyboardInterrupt, Terminated: with the status `interrupted`.
    """
    keep_freed_memory()
    hands = hands or _here(networks)
    meter, device = hands.begin(jobs)
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
            batch = len(left) if len(left) > 1 else 0
            runs: list[OpenRun] = []
            computing = hands.computing([job for job, _ in left])
            with meter.memory.watched(), _ending(runs, meter), computing:
                for job, at in left:
                    runs.append(open_run(job, at, snapshots, meter, device, batch))
                _make(runs, meter, hands, recorded_weights)
            for run in runs:
                partial.remove(run.folder)
                _summarise(run)
    name = video_name(jobs[0].settings.output.format)
    return [folder / name for folder in folders]


def _here(networks: NetworkCache) -> Hands:
    from confiner_cli.runs.here import Here  # with it comes diffusers, which a driver does not need

    return Here(networks)


def _created(job: Job, place: RunFolder) -> Path:
    return place.create(f"{slug(job.prompt)}-s{job.seed}", resume=job.settings.resume)


def _is_done(job: Job, folder: Path) -> bool:
    """Whether there is nothing to do; what a kill in the last moments has left is swept away."""
    if not (job.settings.resume and is_finished(folder, job.settings)):
        return False
    partial.remove(folder)
    progress.mention(f"already done: {folder}")
    return True


def _make(
    runs: Sequence[OpenRun], meter: Meter, hands: Hands, recorded_weights: Mapping[str, Any]
) -> None:
    """Load what the runs need, and make all that they are for."""
    started = monotonic()
    ready = hands.load([run.job for run in runs])
    meter.add("load", monotonic() - started)
    for run in runs:
        _refuse_other_weights(run, ready.weights)
        _tell_other_threads(run, ready)
    for change in changed_parts(recorded_weights, ready.weights):
        progress.say(f"notice: not the weights of the record: {change}")
    _notice(runs, ready)
    try:
        _render(runs, meter, hands, ready)
        keep_seconds(runs[0].job, ready, meter, runs[0].num_frames, runs[0].folder)
    finally:
        if seconds := hands.compile_seconds():
            meter.add("compile", seconds)
        # Networks are loaded when they are first called: now it is known what the libraries said.
        for message in dict.fromkeys(hands.messages()):
            if not is_harmless(message):
                progress.say(f"notice: {' '.join(message.split())}")
            for run in runs:
                run.logbook.log(message)


def _render(runs: Sequence[OpenRun], meter: Meter, hands: Hands, ready: Ready) -> None:
    """The videos, then what is made of them: contact sheets; latents and measures if wanted."""
    store = BatchStore([run.partial for run in runs])
    with progress.evaluations(evaluations_left(runs[0].job, store.has)) as tell:
        renderer = Renderer(hands, Witness(runs, meter, tell), ready)
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


def _tell_other_threads(run: OpenRun, ready: Ready) -> None:
    """As with other versions: sums are made in another order."""
    before, now = run.earlier.threads, ready.threads
    if before not in (0, now) and ready.device == "cpu":
        progress.say(
            f"notice: threads were {before} and are now {now}: what is made from here on may "
            "differ in its last bits"
        )


def _notice(runs: Sequence[OpenRun], ready: Ready) -> None:
    for notice in ready.notices:
        progress.say(f"notice: {notice}")
    for run in runs:
        for notice in ready.notices:
            run.logbook.log(notice)
        run.logbook.update(**ready.facts(), models=_models(run.job))


def _models(job: Job) -> dict[str, str]:
    """The commits of the models that came from the hub: `main` is another one tomorrow."""
    commits: dict[str, str] = {}
    for expert in job.experts.values():
        for _, requirement in requirements(expert):
            commit = hub.commit_of(requirement, hub.cached(requirement))
            if commit:
                commits[str(requirement.ref)] = commit
    return commits


def _summarise(run: OpenRun) -> None:
    record = run.logbook.record
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in record.seconds.items())
    calls = ", ".join(f"{role} {count}" for role, count in record.evaluations.items() if count)
    memory = f"{record.peak_memory_bytes / 2**20:.0f} MiB"
    line = f"done: {seconds}; evaluations: {calls}; peak memory {memory}"
    progress.mention(line)
    run.logbook.log(line)

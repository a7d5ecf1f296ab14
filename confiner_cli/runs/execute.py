"""One run on disk: settings in, a run folder with the video and everything known about it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic

import torch

from confiner_cli import progress
from confiner_cli.config.prompts import slug
from confiner_cli.config.roles import loaded_roles
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError, Terminated, named_error
from confiner_cli.experts.device import device_of
from confiner_cli.media.contact_sheet import columns, write_contact_sheet
from confiner_cli.media.video import read_frames
from confiner_cli.runs.loading import Production, prepare
from confiner_cli.runs.lock import locked
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.partial import Checkpoints
from confiner_cli.runs.record import (
    PROMPTING,
    Place,
    Record,
    finished,
    plain,
    read_run,
    resume_command,
    versions,
)
from confiner_cli.runs.render import Work, evaluations_left, produce, write_latents
from confiner_cli.runs.signals import unmasked
from confiner_cli.weights import hub
from confiner_cli.weights.model_ref import needs


def run(settings: Settings, place: Place, snapshots: Mapping[str, str]) -> Path:
    """Make the folder and the video in it, or go on with a run there. Returns the absolute path of video.mp4.

    Args:
        settings: checked, with their nulls resolved.
        place: where the folder goes, or is.
        snapshots: files for `.hydra/`, by name.

    Raises:
        ConfinerError: with the status `failed` in run.json, or before there is a folder.
        KeyboardInterrupt, Terminated: with the status `interrupted`.
    """
    device = device_of(settings.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # a sweep's jobs share the process
    folder = place.make(f"{slug(settings.prompt)}-s{settings.seed}", going_on=settings.resume)
    with locked(folder):
        if settings.resume and finished(folder, settings):
            Checkpoints.remove(folder)
            progress.say(f"already done: {folder}")
            return folder / "video.mp4"
        record, meter = _record(folder, settings, snapshots, device), Meter(device=device)
        meter.go_on_from(record.known)
        with _ending(record, meter):
            started = monotonic()
            production = prepare(settings)
            meter.add("load", monotonic() - started)
            _notice(record, production)
            record.update(memory=production.memory, models=_models(settings))
            checkpoints = Checkpoints.of(
                folder, production.pipeline.timeline, settings.output.save_latents
            )
            _make(settings, production, meter, record, checkpoints)
        Checkpoints.remove(folder)
        _summary(record)
    return folder / "video.mp4"


def _record(
    folder: Path, settings: Settings, snapshots: Mapping[str, str], device: torch.device
) -> Record:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    if not (settings.resume and (folder / "run.json").exists()):
        record = Record.new(folder, settings, snapshots, device=name)
        record.event("started")
        return record
    record = Record(
        folder,
        {key: value for key, value in read_run(folder).items() if key not in ("error", "hint")},
    )
    before = record.known.get("versions", {})
    changed = [
        f"{package} {before.get(package)} is now {now}"
        for package, now in versions().items()
        if before.get(package) != now
    ]
    chosen = plain(settings)
    record.update(config=chosen, **{key: chosen[key] for key in PROMPTING})
    record.update(status="running", resumed=record.known.get("resumed", 0) + 1, versions=versions())
    record.event("resumed")
    for line in changed:
        progress.say(f"notice: {line}: what is made from here on may differ in its last bits")
    return record


def _make(
    settings: Settings,
    production: Production,
    meter: Meter,
    record: Record,
    checkpoints: Checkpoints,
) -> None:
    """The videos, then what is made of them: the contact sheet, and the latents if they are wanted."""
    with progress.evaluations(evaluations_left(production, checkpoints)) as shown:
        work = Work(settings, production, checkpoints, meter, record, shown)
        num_frames = produce(work)
    if num_frames != settings.num_frames:
        ended = replace(settings, num_frames=num_frames)
        record.update(config=plain(ended), stopped_at=num_frames)
    rows = {
        row: read_frames(record.folder / f"{name}.mp4", columns(num_frames))
        for row, name in (("structure", "structure"), ("result", "video"))
    }
    write_contact_sheet(record.folder / "contact_sheet.png", settings.prompt, rows)
    if settings.output.save_latents:
        write_latents(work, record.folder / "latents.safetensors")


@contextmanager
def _ending(record: Record, meter: Meter) -> Iterator[None]:
    """However the run ends, run.json says how and what it has cost; errors that have a cure are given it."""
    try:
        with unmasked():
            yield
        record.end("done", **meter.costs())
    except (KeyboardInterrupt, Terminated):
        with suppress(OSError):
            record.end("interrupted", **meter.costs())
        progress.say(f"to go on: {resume_command(record.folder)}")
        raise
    except Exception as error:
        named = named_error(
            error, meter.stage, record.known.get("memory") or record.known["config"]["memory"]
        )
        with suppress(OSError):  # a full disk may have no room for this either
            record.end("failed", error=str(named), hint=named.hint, **meter.costs())
            record.log(named.lines())
        if Checkpoints.there(record.folder) and named.exit_code == ConfinerError.exit_code:
            progress.say(
                f"what is finished is kept; to go on afterwards: {resume_command(record.folder)}"
            )
        if named is error:
            raise
        raise named from error


def _notice(record: Record, production: Production) -> None:
    for notice in production.notices:
        progress.say(f"notice: {notice}")
        record.log(notice)
    record.update(notices=list(production.notices))


def _models(settings: Settings) -> dict[str, str]:
    """The commits of the models that came from the hub: `main` is another one tomorrow."""
    used = [
        need for role in loaded_roles(settings) for _, need in needs(role, settings.expert(role))
    ]
    places = {str(need.source): hub.commit_of(need, hub.cached(need)) for need in used}
    return {source: commit for source, commit in places.items() if commit}


def _summary(record: Record) -> None:
    facts = record.known
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in facts["seconds"].items())
    calls = ", ".join(f"{role} {count}" for role, count in facts["evaluations"].items() if count)
    line = f"done: {seconds}; evaluations: {calls}; peak memory {facts['peak_memory_bytes'] / 2**20:.0f} MiB"
    progress.say(line)
    record.log(line)

"""One run on disk: settings in, a run folder with the video and everything known about it out."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from confiner_cli import progress
from confiner_cli.beside import Feed, beside
from confiner_cli.check import loaded_roles
from confiner_cli.collect import KeptLatents, ShownFrames
from confiner_cli.contact_sheet import write_contact_sheet
from confiner_cli.errors import Terminated, named_error
from confiner_cli.experts import hub
from confiner_cli.experts.device import device_of
from confiner_cli.experts.source import needs
from confiner_cli.generate import refined, structures
from confiner_cli.production import Meter, Production, prepare
from confiner_cli.prompts import slug
from confiner_cli.record import Place, Record, recipe
from confiner_cli.settings import Settings
from confiner_cli.video import write_video
from confiner_cli.walk import Step


def run(settings: Settings, place: Place, snapshots: Mapping[str, str]) -> Path:
    """Make the folder and the video in it. Returns the absolute path of video.mp4.

    Args:
        settings: checked, with their nulls resolved.
        place: where the folder goes.
        snapshots: files for `.hydra/`, by name.

    Raises:
        ConfinerError: with the status `failed` in run.json, or before there is a folder.
        KeyboardInterrupt, Terminated: with the status `interrupted`.
    """
    device, meter = device_of(settings.device), Meter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # a sweep's jobs share the process
    folder = place.make(f"{slug(settings.prompt)}-s{settings.seed}")
    record = Record(folder, settings, snapshots, device=_device_name(device))
    record.event("started")
    with _ending(record, meter, device):
        started = monotonic()
        production = prepare(settings)
        meter.seconds["load"] = monotonic() - started
        for notice in production.notices:
            progress.say(f"notice: {notice}")
            record.log(notice)
        record.update(notices=list(production.notices), memory=production.memory, models=_models(settings))
        _produce(settings, production, meter, record)
    _summary(record)
    return record.folder / "video.mp4"


def _produce(settings: Settings, production: Production, meter: Meter, record: Record) -> None:
    """The data's way: structures, windows, frames, files. Each arrow is an iterator; files are written beside them."""
    kept, shown = KeptLatents(settings.output.save_latents), ShownFrames(_int(settings.num_frames))
    comment = recipe(settings) if settings.output.metadata else None
    with (
        beside(_writer(settings, record, "structure.mp4")) as preview,
        beside(_writer(settings, record, "video.mp4", comment)) as video,
    ):
        watch = _watch(meter, record, preview)
        drafts = kept.pass_on("structure", structures(production.plan, watch))
        windows = refined(production.plan, _previewed(production, meter, drafts, shown, preview), watch)
        for window in kept.pass_on("refined", windows):
            for frame in shown.pass_on("result", meter.decode(production.decoder(window))):
                video.add(frame)
        video.end()
        write_contact_sheet(record.folder / "contact_sheet.png", settings.prompt, shown.rows)
        if kept.wanted:
            kept.tensors["base_noise"] = [production.plan.base_noise()]
            kept.write(record.folder / "latents.safetensors")


def _previewed(
    production: Production, meter: Meter, drafts: Iterable[Tensor], shown: ShownFrames, preview: Feed[Tensor]
) -> Iterator[Tensor]:
    """Pass structures on and show them; with the last of them the preview ends, and its file appears soon after."""
    frames_left = production.plan.timeline.num_frames
    count = len(production.plan.timeline.structures)
    for number, draft in enumerate(drafts, start=1):
        frames = islice(meter.decode(production.decoder(draft)), frames_left)
        for frame in shown.pass_on("structure", frames):
            preview.add(frame)
            frames_left -= 1
        if number == count:
            preview.end()
        yield draft


def _writer(
    settings: Settings, record: Record, name: str, comment: str | None = None
) -> Callable[[Iterator[Tensor]], None]:
    size, fps = (_int(settings.height), _int(settings.width)), _int(settings.fps)

    def write(frames: Iterator[Tensor]) -> None:
        write_video(record.folder / name, frames, size, fps, comment)
        record.event("wrote", file=name)

    return write


def _watch(meter: Meter, record: Record, preview: Feed[Tensor]) -> Callable[[str, Iterator[Step], int], Iterator[Step]]:
    """Count, show and record the steps; and stop early where the preview could not be written."""

    def watch(stage: str, steps: Iterator[Step], total: int) -> Iterator[Step]:
        record.event("stage", stage=stage, evaluations=total)
        for number, step in enumerate(progress.watch(stage, meter.watch(stage, steps), total), start=1):
            preview.check()
            record.event("visit", stage=stage, number=number, role=step.visit.role, t=step.visit.t)
            yield step

    return watch


@contextmanager
def _ending(record: Record, meter: Meter, device: torch.device) -> Iterator[None]:
    """However the run ends, run.json says how and what it has cost; errors that have a cure are given it."""
    started = monotonic()

    def costs() -> dict[str, Any]:
        meter.seconds["total"] = monotonic() - started
        return {
            "evaluations": _by_role(meter.evaluations), "passes": _by_role(meter.passes),
            "seconds": {stage: round(value, 3) for stage, value in meter.seconds.items()},
            "peak_memory_bytes": _peak_memory(device),
        }  # fmt: skip

    try:
        yield
        record.end("done", **costs())
    except (KeyboardInterrupt, Terminated):
        with suppress(OSError):
            record.end("interrupted", **costs())
        raise
    except Exception as error:
        named = named_error(error, meter.stage, record.known.get("memory", record.known["config"]["memory"]))
        with suppress(OSError):  # a full disk may have no room for this either
            record.end("failed", error=str(named), hint=named.hint, **costs())
            record.log(named.lines())
        if named is error:
            raise
        raise named from error


def _models(settings: Settings) -> dict[str, str]:
    """The commits of the models that came from the hub: `main` is another one tomorrow."""
    used = [need for role in loaded_roles(settings.scheduler) for _, need in needs(role, settings.expert(role))]
    places = {str(need.source): hub.commit_of(need, hub.cached(need)) for need in used}
    return {source: commit for source, commit in places.items() if commit}


def _summary(record: Record) -> None:
    facts = record.known
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in facts["seconds"].items())
    calls = ", ".join(f"{role} {count}" for role, count in facts["evaluations"].items() if count)
    line = f"done: {seconds}; evaluations: {calls}; peak memory {facts['peak_memory_bytes'] / 2**20:.0f} MiB"
    progress.say(line)
    record.log(line)


def _by_role(counts: Mapping[str, int]) -> dict[str, int]:
    return {role: counts.get(role, 0) for role in ("control", "spatial", "temporal")}


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _int(value: int | None) -> int:
    assert value is not None, "settings are resolved before they are run"
    return value

"""A run's way to its videos: whatever is finished already is read, the rest is made, written down and encoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from time import monotonic

import torch
from safetensors.torch import save_file
from torch import Tensor

from confiner_cli.config.schema import Settings
from confiner_cli.media.background import Feed, beside
from confiner_cli.media.video import join_videos, temporary_beside, write_video
from confiner_cli.method.long.timeline import Timeline, count_up
from confiner_cli.method.pipeline import (
    Watch,
    cross_fade,
    cut_draft,
    refine_window,
    sample_structure,
)
from confiner_cli.method.walk import Step
from confiner_cli.runs.loading import Production
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.partial import Checkpoints
from confiner_cli.runs.record import Record, recipe

Part = tuple[int, list[Tensor]]
"""A part's number and its frames, uint8 `(height, width, 3)`."""
WAITING = 2
"""How many parts may wait for their encoder."""


@dataclass(frozen=True)
class Work:
    """A run at work: what decides it, what it has finished, and whom it tells of each step.

    `check` raises what an encoder has failed of.
    """

    settings: Settings
    production: Production
    checkpoints: Checkpoints
    meter: Meter
    record: Record
    shown: Callable[[str], None]
    check: Callable[[], None] = lambda: None

    @property
    def timeline(self) -> Timeline:
        """Where structures and windows lie."""
        return self.production.pipeline.timeline


def evaluations_left(production: Production, checkpoints: Checkpoints) -> float:
    """How many evaluations there are to do; `math.inf` for a video without an end."""
    pipeline, timeline = production.pipeline, production.pipeline.timeline
    if math.isinf(timeline.num_frames):
        return math.inf
    drafts = sum(
        not checkpoints.has_part("structure", number)
        for number in count_up(timeline.structure_count)
    )
    windows = sum(
        not checkpoints.has_part("video", number) for number in count_up(timeline.window_count)
    )
    return drafts * pipeline.structure_evaluations + windows * pipeline.refinement_evaluations


def produce(work: Work) -> int:
    """Make structure.mp4 and video.mp4; returns the number of frames, which of a video without an end Ctrl-C decides.

    Raises:
        KeyboardInterrupt: a video that has an end was interrupted, or no frame of one without was finished.
    """
    endless = math.isinf(work.timeline.num_frames)
    with (
        beside(_writer(work, "structure"), WAITING) as preview,
        beside(_writer(work, "video"), WAITING) as video,
    ):

        def check() -> None:
            preview.check()
            video.check()

        work = replace(work, check=check)
        try:
            for number in count_up(work.timeline.window_count):
                _preview(work, number, preview)
                _window(work, number, video)
        except KeyboardInterrupt:
            if not endless:
                raise
        video.end()
        work.meter.wait(video.wait)
        if endless:
            preview.end()  # only now is it known how long it is
        work.meter.wait(preview.wait)
    frames = _frames(work)
    if not frames:
        raise KeyboardInterrupt
    return frames


def _preview(work: Work, number: int, preview: Feed[Part]) -> None:
    """Show the structures that window `number` is the first to need; with the last one, structure.mp4 is finished."""
    timeline = work.timeline
    before = timeline.structures_of(timeline.refines(number - 1)).stop if number else 0
    for needed in range(before, timeline.structures_of(timeline.refines(number)).stop):
        if not work.checkpoints.has_part("structure", needed):
            latents = _structure(work, needed)
            inside = min(timeline.num_frames - timeline.structure(needed).start, timeline.length)
            frames = islice(work.meter.decode(work.production.decoder(latents)), int(inside))
            work.meter.wait(preview.add, (needed, list(frames)))
        if needed + 1 == timeline.structure_count:
            preview.end()


def _window(work: Work, number: int, video: Feed[Part]) -> None:
    """Refine window `number` and hand its frames to the encoder."""
    if work.checkpoints.has_part("video", number):
        return
    before = _refined(work, number - 1) if number and work.timeline.overlap else None
    refined = _refined(work, number)
    work.checkpoints.tidy(number)
    frames = list(
        work.meter.decode(
            work.production.decoder(cross_fade(work.timeline, number, refined, before))
        )
    )
    work.meter.wait(video.add, (number, frames))


def _structure(work: Work, number: int) -> Tensor:
    """The latents of structure `number`: read, or made from the nearest one before it that can be gone on from."""
    kept = work.checkpoints.structure(number)
    if kept is not None:
        return kept
    first, made = number, None
    while work.production.pipeline.follows and first and made is None:
        made = work.checkpoints.newest(first - 1)
        first -= made is None
    for each in range(first, number + 1):
        made = sample_structure(work.production.pipeline, each, made, _watch(work, each))
        work.record.event("structure", index=each, backwards=list(made.backwards))
        work.record.update(**work.meter.costs())
        work.checkpoints.keep_structure(made)
    assert made is not None
    return made.latents


def _refined(work: Work, number: int) -> Tensor:
    """All that window `number` refines: read, or refined from its structures."""
    kept = work.checkpoints.window(number)
    if kept is not None:
        return kept
    span = work.timeline.refines(number)
    parts = {needed: _structure(work, needed) for needed in work.timeline.structures_of(span)}
    refined = refine_window(
        work.production.pipeline,
        number,
        cut_draft(work.timeline, span, parts),
        _watch(work, number),
    )
    work.record.update(**work.meter.costs())
    work.checkpoints.keep_window(number, refined)
    return refined


def _watch(work: Work, index: int) -> Watch:
    """Count, show and record the steps of structure or window `index`; stop early where a part cannot be written."""

    def watch(stage: str, steps: Iterator[Step], total: int) -> Iterable[Step]:
        work.record.event("stage", stage=stage, index=index, evaluations=total)
        for number, step in enumerate(work.meter.watch(stage, steps), start=1):
            work.shown(stage)
            work.check()
            work.record.event(
                "visit",
                stage=stage,
                index=index,
                number=number,
                role=step.visit.role,
                t=step.visit.t,
            )
            yield step

    return watch


def _writer(work: Work, name: str) -> Callable[[Iterator[Part]], None]:
    """Encodes each part as it comes, by an encoder of its own; after the last it joins them."""
    settings, checkpoints = work.settings, work.checkpoints
    assert settings.fps is not None
    size, fps = settings.size, settings.fps

    def write(parts: Iterator[Part]) -> None:
        for number, frames in parts:
            started = monotonic()
            write_video(checkpoints.part(name, number), frames, size, fps)
            checkpoints.journal.add(checkpoints.part(name, number))
            work.record.event(
                "wrote", file=f"{checkpoints.folder.name}/{checkpoints.part(name, number).name}"
            )
            work.meter.add("encode", monotonic() - started)
        count = _frames(work)
        if not count:
            return  # stopped before the first part
        told = name == "video" and settings.output.metadata
        comment = recipe(replace(settings, num_frames=count)) if told else None
        join_videos(
            work.record.folder / f"{name}.mp4", checkpoints.parts(name), count, size, comment
        )
        work.record.event("wrote", file=f"{name}.mp4")

    return write


def _frames(work: Work) -> int:
    """The video's length; of one without an end, as far as it is finished."""
    if math.isfinite(work.timeline.num_frames):
        return int(work.timeline.num_frames)
    finished = len(work.checkpoints.parts("video"))
    return work.timeline.window(finished - 1).stop if finished else 0


def write_latents(work: Work, path: Path) -> None:
    """Write base noise, structures and refined windows, each joined along the frames and cut to the video's length."""
    pipeline, timeline, num_frames = work.production.pipeline, work.timeline, _frames(work)
    drafts = [_structure(work, number) for number in range(math.ceil(num_frames / timeline.length))]
    windows = range(len(work.checkpoints.parts("video")))
    whole = [_refined(work, number) for number in windows]
    finished = [
        cross_fade(timeline, number, whole[number], whole[number - 1] if number else None)
        for number in windows
    ]
    tensors = {"structure": torch.cat(drafts, dim=2), "refined": torch.cat(finished, dim=2)}
    tensors = {name: latents[:, :, :num_frames].contiguous() for name, latents in tensors.items()}
    with temporary_beside(path) as temporary:
        save_file(tensors | {"base_noise": pipeline.initial_noise(0)}, temporary)

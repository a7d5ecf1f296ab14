"""A run at work in its folder: the job, what is written down of it, and its two videos."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from torch import Tensor

from confiner_cli import progress
from confiner_cli.config.job import Job
from confiner_cli.media.background import Stream
from confiner_cli.media.contact_sheet import columns
from confiner_cli.media.formats import FORMATS, MP4, Format
from confiner_cli.media.video import encode_chunk, join_chunks
from confiner_cli.runs.folder import RECORD
from confiner_cli.runs.logbook import Logbook
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.partial import CHUNK_OF, PartialRun, opened, remove
from confiner_cli.runs.provenance import begun, plain, prompting, recipe, versions
from confiner_cli.runs.record import FORMAT, RunRecord, read_run
from confiner_cli.runs.tasks import Kind, Task

Parts = list[Iterable[Tensor]]
"""Frames, uint8 `(height, width, 3)`, a few at a time: they may still be on their way."""
Chunk = tuple[Task, Parts]
"""A task and its frames."""


@dataclass(frozen=True)
class OpenRun:
    """One run that is being made.

    Attributes:
        job: what decides it.
        logbook: what is written down of it.
        earlier: its record as an earlier process has left it; an empty one where there is none.
        partial: the results that it has so far.
        streams: by kind of frames, the encoder that they are handed to.
        shown: by video, the frames for the contact sheet, once it is joined.
        meter: what the process spends.
    """

    job: Job
    logbook: Logbook
    earlier: RunRecord
    partial: PartialRun
    streams: dict[Kind, Stream[Chunk]]
    shown: dict[str, list[Tensor]]
    meter: Meter

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.logbook.folder

    @property
    def num_frames(self) -> int:
        """The video's length; of one without an end, as far as it is finished."""
        timeline = self.job.timeline
        if math.isfinite(timeline.num_frames):
            return int(timeline.num_frames)
        finished = len(self.partial.chunks(Kind.CHUNK))
        return timeline.window(finished - 1).stop if finished else 0

    def check(self) -> None:
        """Raise what an encoder has failed of."""
        for stream in self.streams.values():
            stream.check()

    def write_down_costs(self) -> None:
        """Bring run.json up to date. Where there is no room for that, its end may have some."""
        with suppress(OSError):
            self.logbook.update(**self.meter.costs_after(self.earlier))

    def encoded(self, kind: Kind, chunks: Iterator[Chunk]) -> None:
        """Encode the chunks of a video as they come; after the last one, join them."""
        name, sort = CHUNK_OF[kind], self._format_of(kind)
        for task, parts in chunks:
            started, waits = monotonic(), list[float]()
            path = self.partial.path(task)
            encode_chunk(path, _arriving(parts, waits), self.job.size, self.job.fps, sort)
            self.partial.journal.add(path)
            self.logbook.event("wrote", file=f"{path.parent.name}/{path.name}")
            self.meter.add("encode", monotonic() - started - sum(waits))
        count = self.num_frames
        if count:  # else it was stopped before the first chunk
            whole = self.folder / f"{name}.{sort.name}"
            self.shown[name] = join_chunks(
                whole,
                self.partial.chunks(kind),
                count,
                self.job.size,
                comment=self._comment(kind, count),
                sound=self.job.sound if kind is Kind.CHUNK else None,
                pick=columns(count),
            )
            self.logbook.event("wrote", file=whole.name)

    def _format_of(self, kind: Kind) -> Format:
        """Of the joined file; the structure is always an MP4."""
        return FORMATS[self.job.settings.output.format] if kind is Kind.CHUNK else MP4

    def _comment(self, kind: Kind, num_frames: int) -> str | None:
        settings = self.job.settings
        if kind is not Kind.CHUNK or not settings.output.metadata:
            return None
        return recipe(replace(settings, num_frames=num_frames), self.logbook.record.weights)


def _arriving(parts: Parts, waits: list[float]) -> Iterator[Tensor]:
    """The frames as they come from a GPU; `waits` is added what was waited for them, in seconds."""
    for part in parts:
        started = monotonic()
        frames = list(part)
        waits.append(monotonic() - started)
        yield from frames


def open_run(
    job: Job, folder: Path, snapshots: Mapping[str, str], meter: Meter, device: str, batch: int
) -> OpenRun:
    """Begin a run in its folder, or go on with the one that is there.

    Args:
        job: what decides it.
        folder: made, and locked by this process.
        snapshots: files for `.hydra/`, by name.
        meter: what the process spends.
        device: the name of what it runs on.
        batch: how many runs are sampled together; 0 where it is alone.
    """
    earlier = RunRecord()
    if job.settings.resume and (folder / RECORD).exists():
        earlier = read_run(folder)
        if earlier.format != FORMAT:
            remove(folder)  # what an older version has begun is made again
        logbook = _resumed(folder, job, earlier)
    else:
        logbook = Logbook.begin(folder, begun(job.settings, device, batch), snapshots)
    streams: dict[Kind, Stream[Chunk]] = {}

    def encode(task: Task, parts: Parts) -> None:
        meter.wait(streams[task.kind].add, (task, parts))

    place, journal = opened(folder)
    partial = PartialRun(place, journal, encode, keep=job.settings.output.save_latents)
    return OpenRun(job, logbook, earlier, partial, streams, {}, meter)


def _resumed(folder: Path, job: Job, earlier: RunRecord) -> Logbook:
    logbook = Logbook(folder, replace(earlier, error="", hint=""))
    config = plain(job.settings)
    logbook.update(
        format=FORMAT,
        config=config,
        **prompting(config),
        status="running",
        resumed=earlier.resumed + 1,
        versions=versions(),
    )
    logbook.event("resumed")
    for package, version in versions().items():
        before = earlier.versions.get(package)
        if before != version:
            progress.say(
                f"notice: {package} {before} is now {version}: what is made from here on may "
                "differ in its last bits"
            )
    return logbook

"""A run at work in its folder: the job, what is written down of it, and its two videos."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from torch import Tensor

from confiner_cli import progress
from confiner_cli.config.job import Job
from confiner_cli.media.background import Stream
from confiner_cli.media.contact_sheet import columns
from confiner_cli.media.formats import FORMATS, MP4, Format
from confiner_cli.media.video import encode_chunk, join_chunks, verify, write_video
from confiner_cli.runs.arriving import Arriving, CutShortError, Part, Piece
from confiner_cli.runs.folder import RECORD
from confiner_cli.runs.logbook import Logbook
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.partial import CHUNK_OF, PartialRun, opened, remove
from confiner_cli.runs.provenance import begun, plain, prompting, recipe, versions
from confiner_cli.runs.record import FORMAT, RunRecord, read_run
from confiner_cli.runs.tasks import Kind, Task, shown_by


@dataclass(frozen=True)
class OpenRun:
    """One run that is being made.

    Attributes:
        job: what decides it.
        logbook: what is written down of it.
        earlier: its record as an earlier process has left it; an empty one where there is none.
        partial: the results that it has so far.
        streams: by kind of frames, the encoder that they are handed to.
        shown: by kind of frames, those for the contact sheet, once their video is finished.
        meter: what the process spends.
    """

    job: Job
    logbook: Logbook
    earlier: RunRecord
    partial: PartialRun
    streams: dict[Kind, Stream[Piece]]
    shown: dict[Kind, list[Tensor]]
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

    @property
    def shown_kinds(self) -> tuple[Kind, ...]:
        """The kinds of frames that become videos, in the order in which they can be watched."""
        draft = (Kind.PREVIEW,) if self.job.settings.output.structure else ()
        return (*draft, Kind.CHUNK)

    def check(self) -> None:
        """Raise what an encoder has failed of."""
        for stream in self.streams.values():
            stream.check()

    def write_down_costs(self) -> None:
        """Bring run.json up to date. Where there is no room for that, its end may have some."""
        with suppress(OSError):
            self.logbook.update(**self.meter.costs_after(self.earlier))

    def encoded(self, kind: Kind, pieces: Iterator[Piece]) -> None:
        """Encode the frames of one of the videos as they come; after the last one, finish it."""
        for task in pieces:
            assert isinstance(task, Task)
            with suppress(CutShortError):
                self._encode(task, pieces)
        if self.num_frames:  # else it was stopped before the first chunk
            self._finish(kind)

    def _encode(self, task: Task, pieces: Iterator[Piece]) -> None:
        """Encode the frames of a task: a chunk of a video, or all of it."""
        started, path = monotonic(), self.partial.path(task)
        frames = Arriving(pieces, len(shown_by(task, self.job.timeline)))
        size, fps = self.job.size, self.job.fps
        if task in self.partial.whole:
            self.shown[task.kind] = write_video(path, frames, size, fps, **self._around(task.kind))
        else:
            encode_chunk(path, frames, size, fps, _format(self.job, task.kind))
        self.partial.journal.add(path)
        self.logbook.event("wrote", file=path.relative_to(self.folder).as_posix())
        seconds = monotonic() - started - frames.waited
        self.meter.add("encode", seconds)
        self.meter.encodings.append(seconds)

    def _finish(self, kind: Kind) -> None:
        """Join the chunks of a video, unless it has been encoded in one."""
        count, size = self.num_frames, self.job.size
        whole = self.partial.whole.get(Task(kind, 0))
        if whole is None:
            path = _path(self.folder, self.job, kind)
            chunks = self.partial.chunks(kind)
            self.shown[kind] = join_chunks(path, chunks, count, size, **self._around(kind))
            self.logbook.event("wrote", file=path.name)
        elif kind not in self.shown:  # an earlier process has made it
            self.shown[kind] = verify(whole, count, size, columns(count))

    def _around(self, kind: Kind) -> dict[str, Any]:
        """What a finished video has beside its frames, and which of these are shown."""
        count, is_result = self.num_frames, kind is Kind.CHUNK
        return {
            "comment": self._comment(count) if is_result else None,
            "sound": self.job.sound if is_result else None,
            "pick": columns(count),
        }

    def _comment(self, num_frames: int) -> str | None:
        settings = self.job.settings
        if not settings.output.metadata:
            return None
        return recipe(replace(settings, num_frames=num_frames), self.logbook.record.weights)


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
    streams: dict[Kind, Stream[Piece]] = {}

    def encode(task: Task, parts: Iterable[Part]) -> None:
        add = streams[task.kind].add
        meter.wait(add, task)  # the encoder starts while the first frame is decoded
        for part in parts:
            meter.wait(add, part)

    place, journal = opened(folder)
    keep = job.settings.output.save_latents
    partial = PartialRun(place, journal, encode, keep, _whole(job, folder))
    return OpenRun(job, logbook, earlier, partial, streams, {}, meter)


def _whole(job: Job, folder: Path) -> dict[Task, Path]:
    """The tasks whose frames are all of a video, with its file: a short video has no chunks."""
    if job.timeline.structure_count > 1:
        return {}
    return {Task(kind, 0): _path(folder, job, kind) for kind in CHUNK_OF}


def _path(folder: Path, job: Job, kind: Kind) -> Path:
    """Of the finished video."""
    return folder / f"{CHUNK_OF[kind]}.{_format(job, kind).name}"


def _format(job: Job, kind: Kind) -> Format:
    """Of the finished video; the structure is always an MP4."""
    return FORMATS[job.settings.output.format] if kind is Kind.CHUNK else MP4


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

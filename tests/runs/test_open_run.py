"""Frames become the files of a run while they are decoded; what is cut short leaves no file."""

from dataclasses import replace
from threading import Event

import pytest
import torch
from support.command_line import PROMPT
from support.pipelines import joined, pipeline_of, plain

from confiner_cli.config.resolve import resolve
from confiner_cli.media import ffmpeg
from confiner_cli.media.background import consume_in_background
from confiner_cli.media.video import read_video
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.open_run import open_run
from confiner_cli.runs.perform import Performer
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.runs.tasks import Kind, Task

SMALL = ("seed=1", "height=16", "width=16")
ENDLESS = (
    "num_frames=inf", "long_video=confiner_long", "long_video.segment_frames=4",
    "long_video.window_overlap=0",
)  # fmt: skip
SECONDS = 60


def opened(folder, *words):
    folder.mkdir()
    job = resolve(settings_of_words([PROMPT, *SMALL, *words]))
    return open_run(replace(job, prompts={0: "a heart"}), folder, {}, Meter(), "cpu", 0)


def frames(count):
    """One at a time."""
    return list(torch.full((count, 1, 16, 16, 3), 128, dtype=torch.uint8))


def test_an_encoder_is_at_work_before_the_first_frame_is_decoded(tmp_path, monkeypatch):
    run, started = opened(tmp_path / "run", "num_frames=4"), Event()
    plain = ffmpeg._process

    def process(*arguments):
        started.set()
        return plain(*arguments)

    def decoded():
        assert started.wait(SECONDS)
        yield from frames(4)

    monkeypatch.setattr(ffmpeg, "_process", process)
    with consume_in_background(lambda pieces: run.encoded(Kind.CHUNK, pieces), 9) as stream:
        run.streams[Kind.CHUNK] = stream
        run.partial.put(Task(Kind.CHUNK, 0), [decoded()])
        stream.end()
    assert len(read_video(run.folder / "video.mp4")) == 4


@pytest.mark.parametrize("came", [0, 1])
def test_a_chunk_that_is_cut_short_is_no_part_of_a_video_without_an_end(tmp_path, came):
    run = opened(tmp_path / "run", *ENDLESS)
    first, second = Task(Kind.CHUNK, 0), Task(Kind.CHUNK, 1)
    whole = [first, *frames(2)]  # up to the middle of the first structure
    run.encoded(Kind.CHUNK, iter([*whole, second, *frames(came)]))
    assert run.partial.has(first) and not run.partial.has(second)
    assert len(read_video(run.folder / "video.mp4")) == run.num_frames == 2
    assert not list(run.folder.rglob("*writing*"))


def test_a_short_video_that_an_earlier_process_has_finished_is_only_looked_at(tmp_path):
    words = ("num_frames=4", f"output.dir={tmp_path / 'run'}", "resume=true")
    run = opened(tmp_path / "run", *words)
    run.encoded(Kind.CHUNK, iter([Task(Kind.CHUNK, 0), *frames(4)]))
    before = (run.folder / "video.mp4").stat().st_mtime_ns
    again = open_run(run.job, run.folder, {}, Meter(), "cpu", 0)
    assert again.partial.has(Task(Kind.CHUNK, 0))
    again.encoded(Kind.CHUNK, iter([]))
    assert len(again.shown[Kind.CHUNK]) == 4
    assert (run.folder / "video.mp4").stat().st_mtime_ns == before


def test_frames_are_decoded_as_they_are_taken():
    taken = []

    def decode(latents):
        for number in range(latents.shape[2]):
            taken.append(number)
            yield latents[:, :, number]

    pipeline = pipeline_of()
    perform = Performer(pipeline, lambda task: plain, joined(pipeline, decode), decode)
    window = torch.zeros(1, 4, 3, 8, 8)
    (arriving,) = perform(Task(Kind.CHUNK, 0), {Task(Kind.WINDOW, 0): window})
    assert taken == []
    next(iter(arriving))
    assert taken == [0]

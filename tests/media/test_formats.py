"""Other formats than MP4: the same frames at the same rate, and the comment with them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.pictures import SIZE, flat

from confiner_cli.errors import ConfinerError
from confiner_cli.media.formats import FORMATS, check_rate, format_of
from confiner_cli.media.source_video import probe
from confiner_cli.media.video import (
    encode_chunk,
    join_chunks,
    read_comment,
    read_video,
    write_video,
)

OTHERS = [name for name in FORMATS if name != "mp4"]
LOSSLESS = ("apng", "webp")
COMMENT = "a=b;#\\ 漢字 💛\n" * 300


def noise(count: int, size: tuple[int, int] = (16, 24)) -> torch.Tensor:
    """Frames that no encoder finds easy."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(256, (count, *size, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", OTHERS)
def test_frames_size_and_comment_come_back_and_nothing_is_left_beside(tmp_path, name):
    path = tmp_path / f"video.{name}"
    write_video(path, flat(), SIZE, 8, COMMENT)
    error = (read_video(path).int() - flat().int()).abs().max()
    assert error <= {"webm": 4, "gif": 2}.get(name, 0)
    assert read_comment(path) == COMMENT
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", OTHERS)
def test_without_a_comment_there_is_none_and_equal_frames_stay_apart(tmp_path, name):
    path = tmp_path / f"video.{name}"
    write_video(path, flat()[:1].expand(5, -1, -1, -1), SIZE, 8)
    assert len(read_video(path)) == 5
    assert read_comment(path) is None


@pytest.mark.parametrize("name", OTHERS)
def test_one_frame_is_a_video(tmp_path, name):
    path = tmp_path / f"video.{name}"
    write_video(path, flat()[:1], SIZE, 8, COMMENT)
    assert len(read_video(path)) == 1 and read_comment(path) == COMMENT


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("count", [1, 9])
def test_pictures_without_loss_have_every_bit_though_they_are_made_of_chunks(tmp_path, name, count):
    frames = noise(count)
    chunks = []
    for number, part in enumerate(torch.split(frames, 4)):
        chunks.append(tmp_path / f"{number}.mp4")
        encode_chunk(chunks[-1], part, (16, 24), 8, FORMATS[name])
    join_chunks(tmp_path / f"video.{name}", chunks, count, (16, 24), COMMENT)
    assert torch.equal(read_video(tmp_path / f"video.{name}"), frames)


def test_a_gif_has_one_palette_of_all_of_its_frames(tmp_path):
    ramp = torch.arange(0, 256, 4, dtype=torch.uint8)[:, None, None, None].expand(-1, 8, 8, 1)
    frames = torch.cat([ramp, ramp.flip(0), ramp // 2], dim=3)  # a colour a frame, 64 of them
    write_video(tmp_path / "video.gif", frames, (8, 8), 8)
    assert (read_video(tmp_path / "video.gif").int() - frames.int()).abs().max() <= 4


@pytest.mark.parametrize(("name", "rates"), [
    ("gif", (1, 8, 30, 50)), ("webm", (1, 8, 30000 / 1001, 240)),
    ("apng", (1, 7.5, 30, 90)), ("webp", (1, 8, 30, 90)),
])  # fmt: skip
def test_other_programs_find_the_rate_and_the_frames(tmp_path, name, rates):
    for fps in rates:
        write_video(tmp_path / f"video.{name}", noise(25), (16, 24), fps)
        source = probe(tmp_path / f"video.{name}")
        assert (source.num_frames, source.size) == (25, (16, 24))
        assert source.fps == pytest.approx(fps, rel=0.02)


@pytest.mark.parametrize("name", ["gif", "apng", "webp"])
def test_another_reader_finds_pictures_that_play_for_ever_at_the_same_rate(tmp_path, name):
    path = tmp_path / f"video.{name}"
    write_video(path, flat(), SIZE, 8, COMMENT)
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.info["loop"]) == (7, 0)
        times = []
        for number in range(7):
            picture.seek(number)
            picture.load()
            times.append(picture.info["duration"])
    assert sum(times) == pytest.approx(7 * 125, abs=10)


@pytest.mark.parametrize("name", OTHERS)
def test_a_comment_has_any_length(tmp_path, name):
    comment = json.dumps({f"{number}": "漢" * 300 for number in range(400)})
    write_video(tmp_path / f"video.{name}", flat(), SIZE, 8, comment)
    assert read_comment(tmp_path / f"video.{name}") == comment
    assert len(read_video(tmp_path / f"video.{name}")) == 7


def test_the_suffix_chooses_and_another_one_is_refused():
    chosen = {name: format_of(Path(name)).name for name in ("a.MP4", "a.png", "a.b.Gif")}
    assert chosen == {"a.MP4": "mp4", "a.png": "apng", "a.b.Gif": "gif"}
    for name in ("heart.avi", "heart", "heart.mp4.txt", ".mp4"):
        with pytest.raises(ConfinerError, match="does not end with a format") as caught:
            format_of(Path(name))
        assert ".mp4" in caught.value.hint and ".gif" in caught.value.hint


def test_rates_that_players_do_not_show_are_refused():
    for name, kind in FORMATS.items():
        check_rate(kind, kind.most_fps)
        if name in ("gif", "apng", "webp"):
            with pytest.raises(ConfinerError, match="plays slower") as caught:
                check_rate(kind, kind.most_fps + 1)
            assert "fps=" in caught.value.hint


def test_a_place_that_no_file_goes_to_is_named_before_frames_are_encoded(tmp_path):
    def frames():
        raise AssertionError("a frame was asked for")
        yield

    (tmp_path / "folder.mp4").mkdir()
    for name, words in (("none/a.gif", "there is no folder"), ("folder.mp4", "is a folder")):
        with pytest.raises(ConfinerError, match=words):
            write_video(tmp_path / name, frames(), SIZE, 8)


def test_an_ffmpeg_that_lacks_an_encoder_or_is_none_is_told_as_such(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho \"Unknown encoder 'libx264'\" >&2\nexit 8\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    with pytest.raises(ConfinerError, match="Unknown encoder") as caught:
        write_video(tmp_path / "video.mp4", flat(), SIZE, 8)
    assert "IMAGEIO_FFMPEG_EXE" in caught.value.hint
    program.unlink()
    with pytest.raises(ConfinerError, match="no program that can be started"):
        write_video(tmp_path / "video.mp4", flat(), SIZE, 8)
    assert shutil.which(str(program)) is None and not any(tmp_path.iterdir())

"""Files are measured as their frames are, whatever their kind; what is damaged is told."""

import pytest
from support.injuries import noisy
from support.media_files import filmed
from support.moving_texture import SIZE, steady

from confiner_cli.errors import ConfinerError
from confiner_cli.measures.table import MEASURES
from confiner_cli.measures.video import HINT, measure_video
from confiner_cli.media.video import write_video

FRAMES, SPEED = 8, 1.5
SUFFIXES = (".mp4", ".webm", ".gif", ".apng", ".webp")


def written(path, std=0.0):
    levels = (255 * noisy(steady(FRAMES, SPEED), std).clamp(0, 1)).round().byte()
    write_video(path, levels.permute(0, 2, 3, 1), SIZE, 8)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_any_kind_shows_what_is_in_it(tmp_path, suffix):
    measured = measure_video(written(tmp_path / f"a{suffix}"))
    assert (measured.num_frames, measured.lacking) == (FRAMES, {})
    values = measured.values
    assert list(values) == list(MEASURES)
    assert all(type(value) is float for value in values.values())
    share = 100 * SPEED / (SIZE[0] ** 2 + SIZE[1] ** 2) ** 0.5
    assert values["motion_amplitude"] == pytest.approx(share, rel=0.05)
    assert values["motion_smoothness"] > 0.95
    assert values["flicker"] < 4  # a GIF has few colours
    assert measure_video(written(tmp_path / f"b{suffix}", 12)).values["flicker"] > 7


def test_the_same_file_has_the_same_measures_to_the_bit(tmp_path):
    path = written(tmp_path / "a.mp4", 2)
    assert measure_video(path).values == measure_video(path).values


def test_a_camera_s_file_is_measured_with_its_sound_and_its_rate(tmp_path):
    measured = measure_video(filmed(tmp_path / "a.mkv", fps="30000/1001", seconds=1))
    assert measured.num_frames == 30
    assert set(measured.values) == set(MEASURES)


@pytest.mark.parametrize("content", [None, b"", b"no video at all"])
def test_what_is_no_video_is_told(tmp_path, content):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfinerError) as refused:
        measure_video(path)
    assert str(path) in str(refused.value) and refused.value.hint == HINT


def test_a_damaged_video_is_told(tmp_path):
    path = filmed(tmp_path / "a.mp4", "-movflags", "+faststart", seconds=8)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfinerError, match="is damaged: after"):
        measure_video(path)

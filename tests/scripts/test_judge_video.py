"""The judge on files, from whatever made them."""

import json
import random

import pytest

import judge_video
from confiner_cli.media.video import write_video
from evaluation.clips import levels
from world.render import render
from world.scene import placed

SCENE = placed(("heart", "red", "moving left", "sea"), random.Random(4))


def video(path, size=(64, 64)):
    clip = (levels(render(SCENE, 16, size[0])) * 255).byte().permute(0, 2, 3, 1)
    write_video(path, clip, size, 8)
    return path


@pytest.mark.parametrize("size", [(64, 64), (128, 128)])
def test_a_file_is_judged_for_what_it_shows(tmp_path, capsys, size):
    assert judge_video.main([str(video(tmp_path / "a.mp4", size))]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["shape"], line["colour"], line["background"], line["motion"]) == (
        "heart",
        "red",
        "sea",
        "moving left",
    )
    assert (line["frames"], line["contrast"]) == (16, pytest.approx(1, abs=0.05))
    assert line["travel_x"] < -10


@pytest.mark.parametrize("content", [None, b"", b"no video at all"])
def test_what_is_no_video_is_told_in_two_lines(tmp_path, capsys, content):
    path = tmp_path / "b.mp4"
    if content is not None:
        path.write_bytes(content)
    assert judge_video.main([str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"]

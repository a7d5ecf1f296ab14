"""`confiner measure`: numbers of videos on stdout, whatever is wrong with the others."""

import json

import pytest
from support.command_line import confiner
from support.media_files import filmed

from confiner_cli.measures import table
from confiner_cli.measures.table import MEASURES
from confiner_cli.runs.record import RunRecord


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return filmed(tmp_path_factory.mktemp("videos") / "a.mp4", seconds=1)


def run_folder(path, status, video):
    path.mkdir()
    record = RunRecord(format=2, status=status, config={"output": {"format": "gif"}})
    (path / "run.json").write_text(record.as_json())
    (path / "video.gif").write_bytes(video.read_bytes())
    return path


def test_a_table_has_a_line_for_each_video(video):
    ending = confiner("measure", str(video), str(video))
    assert (ending.code, ending.err) == (0, "")
    head, *lines = ending.out.splitlines()
    assert head.split() == [*MEASURES, "video"]
    assert len(set(lines)) == 1 and len(lines) == 2
    *cells, name = lines[0].split()
    assert name == str(video) and len([float(cell) for cell in cells]) == len(MEASURES)


def test_json_has_an_object_a_line(video):
    ending = confiner("measure", "--json", str(video))
    facts = json.loads(ending.out)
    assert facts.pop("video") == str(video)
    assert list(facts) == list(MEASURES)


def test_a_run_folder_means_its_finished_video(video, tmp_path):
    folder = run_folder(tmp_path / "run", "done", video)
    alone, in_run = (json.loads(confiner("measure", "--json", str(path)).out)
                     for path in (video, folder))  # fmt: skip
    assert in_run == {**alone, "video": str(folder)}


def test_what_cannot_be_measured_stops_nothing_and_is_the_exit_code(video, tmp_path):
    damaged = tmp_path / "b.mp4"
    damaged.write_bytes(video.read_bytes()[:500])
    running = run_folder(tmp_path / "run", "running", video)
    ending = confiner("measure", str(damaged), str(running), str(tmp_path), str(video))
    assert ending.code == 2
    assert len(ending.out.splitlines()) == 2
    lines = ending.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"] * 3
    assert str(damaged) in lines[0] and "its run is running" in lines[2]
    assert lines[3] == f"hint: confiner resume {running}"


def test_one_damaged_file_is_two_lines(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    ending = confiner("measure", "--json", str(tmp_path / "a.mp4"))
    assert (ending.code, ending.out) == (2, "")
    assert [line.partition(":")[0] for line in ending.err.splitlines()] == ["error", "hint"]


def test_without_opencv_a_line_says_what_is_lacking(monkeypatch, video):
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    ending = confiner("measure", str(video))
    assert ending.code == 0
    assert ending.out.splitlines()[1].split()[:3] == ["-", "-", "-"]
    assert ending.err.startswith(f"notice: {video}: not measured: flicker, motion_amplitude, ")


@pytest.mark.parametrize("words", [[], ["--json"], ["--yaml", "a.mp4"]])
def test_a_line_without_videos_or_with_unknown_flags_is_refused(words):
    ending = confiner("measure", *words)
    assert (ending.code, ending.out) == (2, "")
    assert ending.err.splitlines()[1] == "hint: confiner measure VIDEO... [--json]"


def test_help_names_every_measure():
    ending = confiner("measure", "--help")
    assert ending.code == 0
    assert all(f"  {name} " in ending.out for name in MEASURES)
    assert all(len(line) <= 100 for line in ending.out.splitlines())

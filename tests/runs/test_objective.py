"""`objective=`: a number of a finished run, by its name, which is checked before a sweep begins."""

import json
from dataclasses import replace

import pytest
from support.media_files import filmed

from confiner_cli.errors import ConfinerError
from confiner_cli.measures import table
from confiner_cli.measures.table import MEASURES
from confiner_cli.measures.video import measure_video
from confiner_cli.runs.lock import locked
from confiner_cli.runs.objective import check_objective, objective_of
from confiner_cli.runs.record import RunRecord, read_run

RECORD = RunRecord(
    format=2,
    status="done",
    seed=7,
    config={"num_frames": 8, "output": {"format": "mp4"}},
    evaluations={"control": 4, "spatial": 10},
    passes={"control": 4, "spatial": 20},
    seconds={"structure": 1.5, "total": 4.25},
    peak_memory_bytes=1000,
    files={"video.mp4": "0"},
)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return filmed(tmp_path_factory.mktemp("videos") / "a.mp4", seconds=1).read_bytes()


@pytest.fixture
def run(tmp_path, content):
    (tmp_path / "video.mp4").write_bytes(content)
    write(tmp_path, RECORD)
    return tmp_path


def write(folder, record):
    (folder / "run.json").write_text(record.as_json())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seconds.total", 4.25),
        ("peak_memory_bytes", 1000),
        ("passes.spatial", 20),
        ("evaluations.control", 4),
        ("resumed", 0),
        ("config.num_frames", 8),
    ],
)
def test_a_number_of_run_json_is_named_by_its_path(run, name, value):
    before = (run / "run.json").read_bytes()
    found = objective_of(run, name)
    assert type(found) is float and found == value
    assert (run / "run.json").read_bytes() == before


@pytest.mark.parametrize("name", ["flicker", "measures.flicker"])
def test_a_measure_that_is_recorded_is_taken_as_it_is(run, name):
    (run / "video.mp4").unlink()
    write(run, replace(RECORD, measures={"flicker": 0.25}))
    assert objective_of(run, name) == 0.25


@pytest.mark.parametrize("name", ["sharpness", "measures.sharpness"])
def test_a_measure_that_is_not_is_computed_and_written_down_beside_the_rest(run, name):
    write(run, replace(RECORD, measures={"flicker": 0.25}))
    values = measure_video(run / "video.mp4").values
    assert objective_of(run, name) == values["sharpness"]
    assert read_run(run) == replace(RECORD, measures=values)


def test_a_run_that_another_process_is_at_is_not_written_to(run):
    with locked(run), pytest.raises(ConfinerError, match="in use"):
        objective_of(run, "flicker")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("flickr", "did you mean flicker? "),
        ("seconds.totl", "did you mean seconds.total? "),
        ("passes.temporal", "passes.spatial"),
        ("seconds", "seconds.structure"),
        ("", "there are flicker, "),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(run, name, hint):
    with pytest.raises(ConfinerError, match="has no number") as refused:
        objective_of(run, name)
    assert hint in refused.value.hint
    assert "config." not in refused.value.hint


@pytest.mark.parametrize("value", [None, "NaN", "Infinity", True, "2"])
def test_what_is_no_finite_number_is_refused(run, value):
    facts = {**json.loads(RECORD.as_json()), "seconds": {"total": value}}
    text = json.dumps(facts)
    for constant in ("NaN", "Infinity"):
        text = text.replace(f'"{constant}"', constant)
    (run / "run.json").write_text(text)
    with pytest.raises(ConfinerError, match="no finite number"):
        objective_of(run, "seconds.total")


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_a_run_that_is_not_done_has_no_objective(run, status):
    write(run, replace(RECORD, status=status))
    with pytest.raises(ConfinerError, match=f"its run is {status}"):
        objective_of(run, "seconds.total")


def test_a_measure_that_needs_opencv_is_refused_without_it(run, monkeypatch):
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    for refusing in (check_objective, lambda name: objective_of(run, name)):
        with pytest.raises(ConfinerError) as refused:
            refusing("flicker")
        assert 'pip install "confiner[measure]"' in refused.value.hint
    check_objective("sharpness")
    assert objective_of(run, "sharpness") > 0


@pytest.mark.parametrize(
    "name",
    [*MEASURES, "measures.drift", "seconds.total", "seconds.decode", "passes.control",
     "evaluations.temporal", "peak_memory_bytes", "resumed"],
)  # fmt: skip
def test_a_name_that_runs_have_a_number_for_is_taken_before_a_sweep(name):
    check_objective(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("flickr", "flicker"),
        ("second.total", "seconds.total"),
        ("passes.contrl", "passes.control"),
        ("peak_memory", "peak_memory_bytes"),
        ("seconds", None),
        ("measures.beauty", None),
        ("config.num_frames", None),
        ("status", None),
        ("resumed.total", None),
        ("", None),
    ],
)
def test_any_other_name_is_refused_before_a_sweep(name, meant):
    with pytest.raises(ConfinerError) as refused:
        check_objective(name)
    assert f"objective={name} " in str(refused.value)
    if meant:
        assert refused.value.hint.startswith(f"did you mean {meant}? there are flicker, ")

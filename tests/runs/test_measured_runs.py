"""`output.measure=true`: a run is measured before it is done."""

import math

import pytest
from support.command_line import PROMPT, QUICK, confiner, facts_of, generate
from support.killing import Moment, killed_at

from confiner_cli.measures import table
from confiner_cli.measures.video import measure_video

MEASURED = "output.measure=true"


@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_run_json_has_the_measures_of_the_finished_video_and_what_they_took(folder, kind):
    ending = generate(PROMPT, *QUICK, MEASURED, f"output.format={kind}", "seed=1", "output.dir=a")
    facts = facts_of(ending.folder)
    assert facts["status"] == "done"
    assert facts["measures"] == measure_video(ending.folder / f"video.{kind}").values
    assert 0 < facts["seconds"]["measure"] < facts["seconds"]["total"]
    assert all(map(math.isfinite, facts["measures"].values()))
    shown = confiner("show", "a")
    assert "motion_smoothness:" in shown.out


def test_a_run_that_does_not_ask_is_not_measured(folder):
    facts = facts_of(generate(PROMPT, *QUICK, "seed=1").folder)
    assert "measures" not in facts and "measure" not in facts["seconds"]


def test_each_run_of_a_batch_is_measured(folder):
    ending = generate("-m", PROMPT, *QUICK, MEASURED, "seed=1,2", "batch=2")
    first, second = (facts_of(each)["measures"] for each in ending.folders)
    assert first["flicker"] != second["flicker"]


def test_what_cannot_be_measured_is_a_notice_and_no_failure(folder, monkeypatch):
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    ending = generate(PROMPT, *QUICK, MEASURED, "seed=1", "output.dir=a")
    facts = facts_of(ending.folder)
    assert facts["status"] == "done"
    assert list(facts["measures"]) == ["sharpness", "drift", "loop_seam"]
    (notice,) = [line for line in facts["notices"] if line.startswith("not measured")]
    assert f"notice: {notice}" in ending.err
    assert notice in (ending.folder / "run.log").read_text()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_was_killed_at_its_measures_has_them_once_it_has_gone_on(folder, when):
    moment = Moment("confiner_cli.runs.execute:measure_run", when=when)
    killed_at(moment, "generate", PROMPT, *QUICK, MEASURED, "output.dir=a", folder=folder)
    facts = facts_of(folder / "a")
    assert facts["status"] == "running" and ("measures" in facts) == (when == "after")
    before = (folder / "a" / "video.mp4").read_bytes()
    assert confiner("resume", "a").code == 0
    facts = facts_of(folder / "a")
    assert facts["status"] == "done" and facts["resumed"] == 1
    assert facts["measures"] == measure_video(folder / "a" / "video.mp4").values
    assert (folder / "a" / "video.mp4").read_bytes() == before

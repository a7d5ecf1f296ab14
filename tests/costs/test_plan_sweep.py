"""What a plan says of all jobs of a sweep together."""

import re

import pytest
from support.command_line import PROMPT, confiner, generate

from confiner_cli.config.resolve import resolve
from confiner_cli.runs.job_graph import graph_of_job
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.runs.workers import measured
from confiner_cli.runs.workers.measured import Measured, keep, key_of
from confiner_cli.runs.workers.simulation import simulate

WORDS = ("num_frames=4", "device=cpu", "threads=1")
TOOK = {"structure": 30.0, "window": 50.0, "preview": 10.0, "chunk": 10.0}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "own_cache", lambda name: tmp_path / "cache" / name)


def together(*words):
    return confiner("plan", "-m", *words).out.splitlines()[-1]


def test_hours_and_disk_are_those_of_the_last_run_times_the_jobs():
    job = resolve(settings_of_words([PROMPT, *WORDS]))
    found = Measured(
        key_of(job), "cpu", "float32", 1, "here", "2026-01-01", TOOK, start=70.0, disk=25e6
    )
    keep(found)
    one = simulate(graph_of_job(job), found.seconds(4).warm(), 1).total
    assert one >= 100.0
    line = together(PROMPT, "seed=range(36)", *WORDS)
    assert f" {36 * one / 3600:.3g} hours one after another (measured in a run of 2026" in line
    assert line.endswith("3.60 GB on disk")


def test_operations_are_those_of_each_kind_times_its_jobs():
    def operations(line):
        return float(re.match(r"in all: ([\d.]+) TFLOP", line)[1])

    steady, nine = (together(PROMPT, f"scheduler={name}") for name in ("steady", "confiner_9"))
    both = together(PROMPT, "seed=1,2,3", "scheduler=steady,confiner_9")
    assert operations(both) == pytest.approx(3 * (operations(steady) + operations(nine)), rel=1e-3)
    assert "counted" in both and both.endswith("disk unknown before a first run")


def test_a_run_keeps_what_its_folder_takes(folder):
    made = generate(
        PROMPT, "num_frames=1", "height=16", "width=16", "output.structure=false"
    ).folder
    (found,) = measured.known()
    size = sum(path.stat().st_size for path in made.glob("*.*"))
    assert found.disk == pytest.approx(size, rel=0.2)  # run.json has since been finished

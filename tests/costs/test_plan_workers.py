"""What a plan says of workers: measured where there was a run, else counted, and where it ends."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from support.command_line import PROMPT, QUICK, confiner, generate

from confiner_cli.config.resolve import resolve
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.runs.job_graph import graph_of_job
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.runs.tasks import Kind, Task, TaskGraph
from confiner_cli.runs.workers import measured
from confiner_cli.runs.workers.expected import expected, limits, stops_at
from confiner_cli.runs.workers.measured import Measured, keep, key_of, known, medians
from confiner_cli.runs.workers.sharing import Machine, shared_out
from confiner_cli.runs.workers.simulation import Seconds, simulate

LONG = ("num_frames=160", "long_video=confiner_long", "executor=processes", "device=cpu")
TOOK = {"structure": 3.0, "window": 5.0, "preview": 1.0, "chunk": 1.0}
FOUND = Measured("", "cpu", "float32", 1, "processes", "2026-01-01T00:00+00:00", TOOK)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "own_cache", lambda name: tmp_path / "cache" / name)


def job_of(*words):
    return resolve(settings_of_words([PROMPT, *words]))


def test_without_a_run_it_is_counted_and_says_so():
    found = expected(job_of(*LONG), threads=2)
    assert found.source.startswith("counted, at 54 GFLOP/s of 2 threads of a CPU")
    assert all(seconds > 0 for seconds in found.seconds.of.values())
    real = expected(job_of("experts=lavie_sd", "num_frames=60", "long_video=confiner_long"), 1)
    assert "a GPU, which is assumed" in real.source


def test_a_run_is_remembered_by_what_it_was_made_with_and_not_by_its_prompt(tmp_path):
    job = job_of(*LONG)
    keep(replace(FOUND, key=key_of(job)))
    assert expected(job, 1).seconds.of[Kind.WINDOW] == 5.0
    alike = job_of(*LONG[1:], "num_frames=600", "seed=9", "prompts={48:a blue star}")
    assert expected(alike, 1).seconds.of[Kind.WINDOW] == 5.0
    for other in ("height=32", "scheduler=confiner_9", "long_video.window_overlap=2"):
        assert "counted" in expected(job_of(*LONG, other), 1).source
    assert "heart" not in (tmp_path / "cache" / "measured" / "tasks.json").read_text()


def test_of_several_runs_that_tell_it_is_the_nearest_one():
    job = job_of(*LONG)
    runs = {
        "other threads": replace(FOUND, threads=8, tasks=TOOK | {"window": 8.0}),
        "one process": replace(FOUND, executor="here", tasks=TOOK | {"window": 7.0}),
        "workers": replace(FOUND, tasks=TOOK | {"window": 6.0}),
    }
    for found, seconds in zip(runs.values(), (8.0, 7.0, 6.0), strict=True):
        keep(replace(found, key=key_of(job)))
        assert expected(job, 1).seconds.of[Kind.WINDOW] == seconds
    assert len(known()) == 3
    keep(replace(FOUND, key=key_of(job)))
    assert len(known()) == 3 and expected(job, 1).seconds.of[Kind.WINDOW] == 5.0


def test_what_is_kept_stays_a_few_and_what_is_damaged_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "MOST", 3)
    for key in "abcde":
        keep(replace(FOUND, key=key))
    assert "".join(each.key for each in known()) == "cde"
    path = tmp_path / "cache" / "measured" / "tasks.json"
    for text in ("", "[{}]", '[{"strange": 1}]', "{", "[1]"):
        path.write_text(text)
        assert known() == []


def test_the_first_task_of_a_kind_loads_networks_and_is_no_median():
    took = {Task(Kind.WINDOW, n): seconds for n, seconds in enumerate((9.0, 2.0, 1.0, 3.0))}
    tasks, cold = medians(took)
    assert (tasks["window"], cold["window"]) == (2.0, 7.0)
    assert medians({Task(Kind.CHUNK, 0): 4.0})[0]["chunk"] == 4.0


def test_every_run_leaves_what_its_tasks_took(tmp_path):
    generate(PROMPT, "seed=1", *QUICK, f"output.dir={tmp_path / 'run'}")
    (found,) = known()
    assert (found.executor, found.device) == ("here", "cpu")
    assert set(found.tasks) == set(Kind) and all(found.tasks.values())
    assert found.encode > 0 and found.finish > 0


def test_a_run_ends_well_where_nothing_can_be_kept(tmp_path, monkeypatch):
    def homeless(name):
        raise RuntimeError

    monkeypatch.setattr(measured, "own_cache", homeless)
    assert generate(PROMPT, "seed=1", *QUICK, f"output.dir={tmp_path / 'run'}").code == 0


def test_a_plan_prints_the_simulation():
    job = job_of(*LONG)
    keep(replace(FOUND, key=key_of(job), finish=0.0))
    ending = confiner("plan", PROMPT, *LONG, "workers=4", "threads=1")
    assert ending.code == 0, ending.err
    rows = dict(re.findall(r"^ +\*?(\d+) +([\d.]+) ", ending.out, re.MULTILINE))
    assert list(rows) == ["1", "2", "4", "8", "64", "512"]
    seconds = known()[0].seconds(160)
    for count, total in rows.items():
        assert float(total) == pytest.approx(
            simulate(graph_of_job(job), seconds, int(count)).total, abs=0.051
        )
    assert "*4" in ending.out and "10 structures follow each other" in ending.out
    assert "simulated" not in confiner("plan", PROMPT).out


def test_where_it_stops_to_scale_and_why():
    timeline, seconds = Timeline(160, 16, overlap=8), Seconds({Kind(k): v for k, v in TOOK.items()})
    following, independent = (TaskGraph(timeline, follows) for follows in (True, False))
    assert max(limits(following, seconds))[1].startswith("10 structures follow each other")
    assert max(limits(following, seconds))[0] == 10 * 3 + 5 + 1
    assert max(limits(independent, seconds))[0] == 3 + 5 + 1
    slow = replace(seconds, encode=9.0)
    assert "encoder" in max(limits(independent, slow))[1]
    assert stops_at(following, seconds).workers < stops_at(independent, seconds).workers


def test_cpus_are_shared_out_as_far_as_threads_are_busy(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    small = ("num_frames=160", "long_video=confiner_long", "executor=processes")
    large = ("experts=lavie_sd", "num_frames=60", "long_video=confiner_long", "executor=processes")
    assert shared_out([job_of(*small)], Machine(8, 0)) == (8, 1)
    assert shared_out([job_of(*large)], Machine(8, 0)) == (1, 8)
    assert shared_out([job_of(*large, "workers=2")], Machine(8, 0)) == (2, 4)
    assert shared_out([job_of(*large, "workers=16")], Machine(8, 0)) == (16, 1)
    assert shared_out([job_of(*large, "threads=3")], Machine(8, 0)) == (2, 3)
    assert shared_out([job_of(*large)], Machine(8, 4)) == (4, 2)

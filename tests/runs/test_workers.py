"""Runs on workers that are processes: the bits of one process, whoever is killed, and no trace."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from itertools import count
from threading import Timer

import pytest
import torch
from safetensors.torch import load_file
from support.command_line import PROMPT, QUICK, confiner, ended, facts_of, generate
from support.forked import forked
from support.killing import (
    SHORT,
    Moment,
    assert_clean,
    events_of,
    gone_on,
    killed_at,
    made,
    stages_of,
    wait_for,
)

from confiner_cli.runs.workers import processes
from confiner_cli.runs.workers.processes import ProcessWorker

KEPT = "output.save_latents=true"
SECONDS = 240
ADD = "confiner_cli.runs.journal:Journal.add"


def workers(number):
    return "executor=processes", f"workers={number}"


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The run in one process."""
    folder = tmp_path_factory.mktemp("here") / "run"
    return made(generate(*SHORT, KEPT, f"output.dir={folder}").folder)


def assert_same(run, reference):
    found = made(run)
    assert (found.files, found.frames) == (reference.files, reference.frames)
    assert_clean(run)
    return found


@pytest.mark.parametrize("number", [1, 2])
def test_workers_make_the_same_files_at_the_same_costs(tmp_path, reference, number):
    run = generate(*SHORT, KEPT, *workers(number), f"output.dir={tmp_path / 'run'}").folder
    assert assert_same(run, reference) == reference
    facts = facts_of(run)
    assert facts["device"] == "cpu" and facts["threads"] >= 1
    assert {"load", "idle", "structure", "refinement", "decode"} <= set(facts["seconds"])
    whose = {each["worker"] for each in events_of(run) if each["event"] == "stage"}
    assert {name.split(" on ")[0] for name in whose} <= {"worker 0", "worker 1"}


def test_there_may_be_more_workers_than_tasks(tmp_path):
    here, by_workers = (
        made(generate(PROMPT, "seed=3", *QUICK, *words, f"output.dir={tmp_path / name}").folder)
        for name, words in (("here", ()), ("workers", workers(6)))
    )
    assert here.files == by_workers.files


@pytest.mark.thorough
def test_several_seeds_are_sampled_together_by_workers_too(tmp_path):
    words = (PROMPT, *QUICK, "seed=1,2", "batch=2", "-m")
    here = confiner("generate", *words, f"output.dir={tmp_path / 'here'}")
    by_workers = confiner("generate", *words, *workers(2), f"output.dir={tmp_path / 'workers'}")
    assert here.code == by_workers.code == 0, by_workers.err
    for one, other in zip(here.folders, by_workers.folders, strict=True):
        assert made(one).frames == made(other).frames


def test_a_killed_driver_is_gone_on_with_by_another_number_of_workers(tmp_path, reference):
    words = ("generate", *SHORT, KEPT, *workers(2), "output.dir=run")
    killed_at(Moment(ADD, 1, "video-000001"), *words, folder=tmp_path)
    before = stages_of(tmp_path / "run")
    gone_on(tmp_path / "run", *SHORT, KEPT, *workers(3))
    found = assert_same(tmp_path / "run", reference)
    again = found.stages.total() - before.total()
    # The two that were being done, and what came of them; not what had been written down.
    assert again <= reference.stages.total() - before.total() + 2
    assert facts_of(tmp_path / "run")["resumed"] == 1


def deadly(monkeypatch, moments):
    """Workers are killed at these of all messages that are sent: so many seconds after it."""
    number, ask = count(), ProcessWorker.ask

    def killing(self, message):
        reply = ask(self, message)
        seconds = moments.get(next(number))
        if seconds is not None:
            killer = Timer(seconds, os.kill, (self.process.pid, signal.SIGKILL))
            killer.daemon = True
            killer.start()
        return reply

    monkeypatch.setattr(ProcessWorker, "ask", killing)


def assert_kills_cost_their_task_only(tmp_path, reference, capfd):
    ending = generate(*SHORT, KEPT, *workers(2), f"output.dir={tmp_path / 'run'}")
    assert ending.code == 0, ending.err
    found = assert_same(tmp_path / "run", reference)
    died = ending.err.count("died")
    assert found.stages == reference.stages and found.evaluations == reference.evaluations
    return died


def test_a_worker_that_is_killed_at_work_is_replaced(tmp_path, reference, monkeypatch, capfd):
    deadly(monkeypatch, {0: 0.0, 4: 0.0})
    assert assert_kills_cost_their_task_only(tmp_path, reference, capfd) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_whenever_a_worker_is_killed_its_task_is_done_again(
    tmp_path, reference, monkeypatch, capfd, seed
):
    drawn = random.Random(seed)
    deadly(monkeypatch, {drawn.randrange(14): drawn.uniform(0, 0.3)})
    died = assert_kills_cost_their_task_only(tmp_path, reference, capfd)
    print(f"{died} of 1 kills met a worker at work")


def test_a_worker_that_cannot_begin_says_what_is_wrong_and_who_it_is(tmp_path):
    ending = generate(PROMPT, *QUICK, *workers(1), "device=cuda", f"output.dir={tmp_path / 'run'}")
    assert ending.code == 2 and "error: worker 0 on " in ending.err
    assert "device='cuda' cannot be used here" in ending.err
    assert facts_of(tmp_path / "run")["status"] == "failed"


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [
        (signal.SIGINT, 130, "interrupted"),
        pytest.param(signal.SIGTERM, 143, "interrupted", marks=pytest.mark.thorough),
    ],
)
def test_a_signal_ends_driver_and_workers(tmp_path, reference, number, code, status):
    run = tmp_path / "run"
    words = ("generate", *SHORT, KEPT, *workers(2), "output.dir=run")
    process = forked(*words, folder=tmp_path)
    wait_for(run, "structure", 0)
    process.send_signal(number)
    ending = ended(process)
    assert (ending.code, facts_of(run)["status"]) == (code, status), ending.err
    assert "Traceback" not in ending.err
    assert ended(forked("resume", "run", folder=tmp_path)).folder == run
    assert_same(run, reference)


def test_processes_that_are_new_make_the_same_files_as_forked_ones(
    tmp_path, reference, monkeypatch
):
    monkeypatch.setattr(processes, "importing", lambda: processes.NEW)
    run = generate(*SHORT, KEPT, *workers(1), f"output.dir={tmp_path / 'run'}").folder
    assert_same(run, reference)


@pytest.mark.gpu
def test_a_worker_on_a_gpu_makes_what_this_process_makes_there(tmp_path):
    found = {}
    for name, words in {"here": (), "worker": workers(1)}.items():
        folder = f"output.dir={tmp_path / name}"
        run = generate(*SHORT, KEPT, "device=cuda", "dtype=float32", *words, folder).folder
        found[name] = load_file(run / "latents.safetensors")
    for name, latents in found["here"].items():
        assert torch.allclose(latents, found["worker"][name], atol=1e-3), name


DRIVER = """
import sys, time
from confiner_cli.runs.workers.processes import NEW, ProcessWorker, importing
worker = ProcessWorker({"forked": importing(), "new": NEW}[sys.argv[1]])
print(worker.process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("start", ["forked", "new"])
def test_workers_end_when_their_driver_is_killed(start):
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, start], stdout=subprocess.PIPE, text=True
    ) as driver:
        worker = int(driver.stdout.readline())
        os.kill(worker, 0)
        driver.kill()
    deadline = time.monotonic() + SECONDS
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("executor=cluster",), "executor=cluster is unknown"),
        (("executor=processes", "workers=0"), "workers=0 is out of range"),
        (("workers=2",), "workers=2 has no meaning in one process"),
        (
            ("executor=processes", "num_frames=inf", "long_video=confiner_long"),
            "executor=processes makes no video without an end",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_begun(tmp_path, words, said):
    ending = generate(PROMPT, *words, f"output.dir={tmp_path / 'run'}")
    assert ending.code == 2 and said in ending.err and "Traceback" not in ending.err
    assert not (tmp_path / "run").exists()

"""Runs on workers that are Ray's actors: the same bits, whoever is killed, and nothing left."""

from __future__ import annotations

import os
import signal
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from support.command_line import ended, facts_of, generate, started
from support.killing import SHORT, assert_clean, events_of, gone_on, made, wait_for

pytest.importorskip("ray")
KEPT = "output.save_latents=true"
BY_RAY = ("executor=ray", "workers=2")
SECONDS = 240


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The run in one process."""
    folder = tmp_path_factory.mktemp("here") / "run"
    return made(generate(*SHORT, KEPT, f"output.dir={folder}").folder)


class Own:
    """The command in a process of its own, whose Ray is told from those of others."""

    def __init__(self, *words, folder):
        self.sign = f"OWN_RAY={uuid.uuid4().hex}"
        name, _, value = self.sign.partition("=")
        environment = {**os.environ, name: value}
        environment.pop("RAY_ADDRESS", None)
        words = ("generate", *SHORT, KEPT, *words, "output.dir=run")
        self.process = started(*words, folder=folder, env=environment)

    def processes(self, title=""):
        """Those that it has started, with this in their command line."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (path / "cmdline").read_bytes().decode(errors="replace")
                environment = (path / "environ").read_bytes().decode(errors="replace")
                if title in command and self.sign in environment.split("\0"):
                    found.append(int(path.name))
        return found

    def actors(self):
        """The processes of workers. Ray gives them a title, which takes the environment's place."""
        mine, found = set(self.processes("raylet")), []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                command = (path / "cmdline").read_bytes().decode(errors="replace")
                if parent in mine and "Post" in command:
                    found.append(int(path.name))
        return found


def assert_nothing_left(own):
    deadline = time.monotonic() + SECONDS
    while (left := own.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def test_actors_make_the_same_files_and_are_quiet(tmp_path, reference):
    own = Own(*BY_RAY, folder=tmp_path)
    ending = ended(own.process)
    run = tmp_path / "run"
    assert (ending.code, ending.out) == (0, f"{run / 'video.mp4'}\n"), ending.err
    assert made(run) == reference
    assert_clean(run)
    for line in ending.err.splitlines():
        assert line.split(":")[0] in ("structure", "refinement", "done", "notice"), line
    assert {each["worker"].split(" on ")[0] for each in events_of(run) if "worker" in each}
    assert_nothing_left(own)


def test_an_actor_that_is_killed_costs_its_task_only(tmp_path, reference):
    own = Own(*BY_RAY, folder=tmp_path)
    wait_for(tmp_path / "run", "structure", 0)
    for process in own.actors()[:1]:
        os.kill(process, signal.SIGKILL)
    ending = ended(own.process)
    assert ending.out == f"{tmp_path / 'run' / 'video.mp4'}\n"
    assert ending.code == 0 and ending.err.count("takes its place") == 1, ending.err
    found = made(tmp_path / "run")
    assert (found.files, found.stages) == (reference.files, reference.stages)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
def test_a_driver_that_ends_takes_its_ray_along(tmp_path, reference, number, code):
    own, run = Own(*BY_RAY, folder=tmp_path), tmp_path / "run"
    wait_for(run, "structure", 0)
    own.process.send_signal(number)
    ending = ended(own.process)
    assert ending.code == code and "Traceback" not in ending.err, ending.err
    assert_nothing_left(own)
    assert facts_of(run)["status"] == ("interrupted" if code > 0 else "running")
    gone_on(run, *SHORT, KEPT, "executor=processes", "workers=1")
    assert made(run).files == reference.files


def test_a_cluster_that_is_not_there_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    process = started(
        "generate", *SHORT, *BY_RAY, "output.dir=run", folder=tmp_path, env=dict(os.environ)
    )
    ending = ended(process)
    assert ending.code == 2 and "there is no Ray at RAY_ADDRESS=127.0.0.1:1" in ending.err
    assert "Traceback" not in ending.err and not (tmp_path / "run").exists()

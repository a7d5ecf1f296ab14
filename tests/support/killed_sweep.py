"""Sweeps whose processes are killed at random moments, and gone on with until they are done."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from support.command_line import PROMPT, ended, started

SWEEP = (
    "generate", "-m", PROMPT, "prompt=a green square", "seed=1,2", "num_frames=6", "threads=1",
    "height=32", "width=32", "scheduler=confiner_9",
)  # fmt: skip
MOST_ATTEMPTS = 6


def hashes(root: Path) -> dict[str, str]:
    """The video of each job."""
    return {
        path.parent.name: sha256(path.read_bytes()).hexdigest() for path in root.glob("*/video.mp4")
    }


def processes_under(parent: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found, waiting = [], [parent]
    while waiting:
        above = waiting.pop()
        own = [pid for pid, ppid in pairs if ppid == above]
        found += own
        waiting += own
    return found


def jobs_of_slurm() -> list[int]:
    """The processes in which SLURM's jobs make videos."""
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,args="], capture_output=True, text=True, check=True
    )
    lines = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, command in lines if "-m submitit.core._submit" in command]


def killed_once(words: tuple[str, ...], root: Path, moment: float, victim: str) -> None:
    """Start a sweep and kill it, one of its workers, or all, so many seconds after it began."""
    process = started(*words, folder=root.parent, start_new_session=True)
    while process.poll() is None and not (root / "sweep.json").exists():
        time.sleep(0.1)
    time.sleep(moment)
    workers = processes_under(process.pid) + jobs_of_slurm()
    victims = {"parent": [process.pid], "worker": workers[-1:], "all": [process.pid, *workers]}
    for pid in victims[victim]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    ended(process)


def assert_gone_on_with(
    root: Path, undisturbed: dict[str, str], launcher: tuple[str, ...], chance: random.Random
) -> str:
    """Kill a sweep at a random moment, go on with it, and look at what there is.

    Returns:
        What was killed when, and at which jobs.
    """
    folder = root.parent
    victim = chance.choice(["parent", "worker", "all"] if launcher else ["parent", "all"])
    moment = chance.uniform(0, 10)
    killed_once((*SWEEP, *launcher, f"output.dir={root}"), root, moment, victim)
    done = {path: path.stat().st_mtime_ns for path in root.glob("*/video.mp4")}
    told = f"{victim} after {moment:.1f} s, with {len(done)} done"
    for _ in range(MOST_ATTEMPTS):
        ending = ended(started("resume", str(root), folder=folder))
        if ending.code == 0:
            break
    assert ending.code == 0, f"{told}: {ending.err}"
    assert hashes(root) == undisturbed, told
    assert len(ending.out.splitlines()) == len(undisturbed), told
    for path, time_then in done.items():
        record = json.loads((path.parent / "run.json").read_text())
        if record.get("resumed", 0) == 0:
            assert path.stat().st_mtime_ns == time_then, f"{told}: {path} was made twice"
    for job in root.glob("*/run.json"):
        events = (job.parent / "events.jsonl").read_text().splitlines()
        ends = [json.loads(line)["event"] for line in events if '"done"' in line]
        assert ends == ["done"], f"{told}: {job.parent.name} was done {len(ends)} times"
    assert not (root / ".sweep").exists() and not list(root.glob("*/parts")), told
    return told

"""A run that is stopped says so, with its exit code, and leaves nothing that looks finished but is not."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.command_line import PROMPT, QUICK, Ending, ended, facts_of, generate, started

from confiner_cli.errors import ConfinerError
from confiner_cli.media.video import read_video
from confiner_cli.runs import execute as run

LONG = (
    "generate",
    PROMPT,
    "scheduler.structure.num_inference_steps=1",
    "scheduler.refinement.num_inference_steps=90",
)


def assert_nothing_half_made(folder):
    assert not (folder / "video.mp4").exists()
    assert not [path.name for path in folder.rglob("*writing*")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_refinement_is_recorded_and_the_structure_stays_whole(
    tmp_path, number, code
):
    process = started(*LONG, "output.dir=run", folder=tmp_path)
    folder = tmp_path / "run"
    deadline = time.monotonic() + 240
    while not (folder / "structure.mp4").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    ending = ended(process)
    assert (ending.code, ending.out) == (code, ""), ending.err
    assert ending.err.splitlines()[-1] == {130: "interrupted", 143: "terminated"}[code]
    assert "Traceback" not in ending.err
    facts = facts_of(folder)
    assert facts["status"] == "interrupted" and set(facts["files"]) == {"structure.mp4"}
    assert facts["evaluations"]["control"] == 1 and facts["seconds"]["total"] > 0
    assert_nothing_half_made(folder)
    assert len(read_video(folder / "structure.mp4")) == 16


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_foreign_code_turns_into_an_error_is_a_signal_still(
    tmp_path, monkeypatch, number, code
):
    def prepare(settings):
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        except BaseException as met:  # as torch does in the middle of loading
            raise ConfinerError("the weights cannot be loaded", "get others") from met

    monkeypatch.setattr(run, "prepare", prepare)
    ending = generate(PROMPT, *QUICK, f"output.dir={tmp_path / 'run'}")
    assert (ending.code, ending.out) == (code, ""), ending.err
    facts = facts_of(tmp_path / "run")
    assert facts["status"] == "interrupted" and "error" not in facts


@pytest.mark.parametrize(
    ("kilobytes", "words"), [(8, ()), (12, ("output.save_latents=true",))], ids=["video", "latents"]
)
def test_a_full_disk_is_two_lines_and_recorded(tmp_path, kilobytes, words):
    command = [
        sys.executable,
        "-m",
        "confiner_cli",
        "generate",
        PROMPT,
        *QUICK,
        "num_frames=16",
        "output.dir=run",
        *words,
    ]
    command.remove("num_frames=4")
    limited = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "-", *command]
    result = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, check=False)
    ending = Ending(result.returncode, result.stdout, result.stderr)
    assert (ending.code, ending.out) == (2, ""), ending
    error, hint = ending.err.splitlines()[-2:]
    assert error.startswith("error: no room") and "disk" in hint
    assert facts_of(tmp_path / "run")["status"] == "failed"
    assert "no room" in facts_of(tmp_path / "run")["error"]
    assert not [path.name for path in (tmp_path / "run").rglob("*writing*")]

"""A full disk stops a run with two lines, nothing half written; given room, it ends the same."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from support.command_line import confiner, ended, facts_of, generate
from support.killing import (
    SHORT,
    Moment,
    assert_clean,
    events_of,
    made,
    started_to_die,
)

POPEN = "subprocess:Popen"
SAVE = "confiner_cli.weights.tensors:save_file"
A_PART = "a part of the video"
MOMENTS = {
    A_PART: Moment(POPEN, 1, ".video-000001."),
    "a window's latents": Moment(SAVE, 1, "window-000001"),
    "the joined video": Moment(POPEN, 1, ".video."),
    "a part of the structure": Moment(POPEN, 1, ".structure-000000."),
    "a structure's latents": Moment(SAVE, 1, "structure-000001"),
    "the joined structure": Moment(POPEN, 1, ".structure."),
}
"""What there is no room for."""
MOUNTED = 'mount -t tmpfs -o size=16m none disk && exec "$@"'
ON_A_DISK = """
import json, pathlib, shutil, sys
from confiner_cli.cli import main
from support.killing import Moment, arm

moment, *words = sys.argv[1:]
arm(Moment(**json.loads(moment)))
code = main(["generate", *words, "output.dir=disk/run"])
shutil.copytree("disk/run", "full")
pathlib.Path("disk/filler").unlink()
main(["resume", "disk/run"])
shutil.copytree("disk/run", "run")
sys.exit(code)
"""
TESTS = Path(__file__).parents[1]


def quick(*names):
    """All moments, those that are not named here as thorough tests."""
    return [
        pytest.param(name, marks=[] if name in names else [pytest.mark.thorough])
        for name in MOMENTS
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run with room enough."""
    return made(generate(*SHORT, f"output.dir={tmp_path_factory.mktemp('whole') / 'run'}").folder)


def assert_told(code, err):
    """It ends as what the user can cure, in two lines and the way to go on."""
    assert code == 2, err
    assert err.count("error: no room") == 1 and "Traceback" not in err
    assert "to go on afterwards: confiner resume " in err


def assert_failed_and_clean(run):
    facts = facts_of(run)
    assert facts["status"] == "failed" and "no room" in facts["error"]
    assert not [path for path in run.rglob("*") if "writing" in path.name or path.name == ".lock"]
    assert not (run / "video.mp4").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("name", quick("a window's latents"))
def test_without_room_for_a_file_a_run_fails_in_order_and_goes_on(tmp_path, whole, name):
    full = replace(MOMENTS[name], when="full")
    ending = ended(started_to_die(full, "generate", *SHORT, "output.dir=run", folder=tmp_path))
    assert_told(ending.code, ending.err)
    assert ending.out == ""
    error, hint = ending.err.splitlines()[-2:]
    assert error.startswith("error: no room") and hint.startswith("hint: ") and "disk" in hint
    run = tmp_path / "run"
    assert_failed_and_clean(run)
    assert (run / "parts" / "video-000003.mp4").exists() == (name == "the joined video")
    assert confiner("resume", str(run)).code == 0
    assert made(run).files == whole.files
    assert "error" not in facts_of(run) and "hint" not in facts_of(run)
    assert_clean(run)


def mounts():
    """Whether this person may mount a disk that only a process of its own sees."""
    if not shutil.which("unshare"):
        return False
    mount = ("unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt")
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not mounts(), reason="no disk may be mounted here")
@pytest.mark.parametrize("name", quick())
def test_on_a_disk_that_is_full_for_all_files_a_run_fails_in_order_and_goes_on(
    tmp_path, whole, name
):
    (tmp_path / "disk").mkdir()
    filling = replace(MOMENTS[name], when="fill", file="disk/filler")
    command = [sys.executable, "-c", ON_A_DISK, json.dumps(asdict(filling)), *SHORT]
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    result = subprocess.run(
        ["unshare", "-rm", "bash", "-c", MOUNTED, "-", *command], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert_told(result.returncode, result.stderr)
    assert_failed_and_clean(tmp_path / "full")
    assert made(tmp_path / "run").files == whole.files
    assert all(event["event"] for event in events_of(tmp_path / "run"))
    assert_clean(tmp_path / "run")

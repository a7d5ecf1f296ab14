"""A full disk stops a run with two lines and leaves nothing half written; with room again it goes on to the same."""

import shutil
import subprocess
import sys

import pytest
from support.command_line import confiner, ended, facts_of, generate
from support.killing import SHORT, Moment, assert_clean, events_of, made, started_to_die

COMMAND = (sys.executable, "-m", "confiner_cli")
FOUR_STEPS = tuple(
    word.replace("structure.num_inference_steps=2", "structure.num_inference_steps=4")
    for word in SHORT
)
POPEN = "subprocess:Popen"
ON_A_DISK = """
mount -t tmpfs -o size=$1k none disk || exit 77
shift
"$@" output.dir=disk/run
code=$?
cp -r disk/run full
mount -o remount,size=16m disk && "$1" "$2" "$3" resume disk/run >&2
cp -r disk/run run
exit $code
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same runs with room enough, by their words."""
    folders = {
        words: generate(*words, f"output.dir={tmp_path_factory.mktemp('whole') / 'run'}").folder
        for words in (SHORT, FOUR_STEPS)
    }
    return {words: made(folder) for words, folder in folders.items()}


def assert_told(code, out, err):
    """It ends as what the user can cure, in two lines and the way to go on."""
    assert (code, out) == (2, ""), err
    going_on, error, hint = err.splitlines()[-3:]
    assert "to go on afterwards: confiner resume " in going_on
    assert error.startswith("error: no room") and hint.startswith("hint: ") and "disk" in hint
    assert "Traceback" not in err


def assert_failed_and_clean(run):
    facts = facts_of(run)
    assert facts["status"] == "failed" and "no room" in facts["error"]
    assert not [path for path in run.rglob("*") if "writing" in path.name or path.name == ".lock"]
    assert not (run / "video.mp4").exists()


def assert_goes_on(run, reference):
    assert confiner("resume", str(run)).code == 0
    assert made(run).files == reference.files
    assert "error" not in facts_of(run) and "hint" not in facts_of(run)
    assert_clean(run)


@pytest.mark.parametrize(
    ("kilobytes", "words", "stage"),
    [(6, FOUR_STEPS, "latents"), (7, SHORT, "joined")],
    ids=["latents", "join"],
)
def test_without_room_for_a_file_of_its_own_a_run_fails_in_order(
    tmp_path, whole, kilobytes, words, stage
):
    limited = (
        "bash",
        "-c",
        f'ulimit -f {kilobytes}; exec "$@"',
        "-",
        *COMMAND,
        "generate",
        *words,
        "output.dir=run",
    )
    result = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, check=False)
    run = tmp_path / "run"
    assert_told(result.returncode, result.stdout, result.stderr)
    assert_failed_and_clean(run)
    assert (run / "parts" / "video-000003.mp4").exists() == (stage == "joined")
    assert_goes_on(run, whole[words])


@pytest.mark.parametrize("among", [".video-000001.", ".structure-000000.", ".structure."])
def test_without_room_for_what_ffmpeg_writes_a_run_fails_in_order(tmp_path, whole, among):
    full = Moment(POPEN, 1, among, "full")
    process = started_to_die(full, "generate", *SHORT, "output.dir=run", folder=tmp_path)
    ending = ended(process)
    assert_told(ending.code, ending.out, ending.err)
    assert_failed_and_clean(tmp_path / "run")
    assert_goes_on(tmp_path / "run", whole[SHORT])


def mounts():
    """Whether this person may mount a disk that only a process of its own sees."""
    if not shutil.which("unshare"):
        return False
    mount = ("unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt")
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not mounts(), reason="no disk may be mounted here")
@pytest.mark.parametrize(
    "kilobytes",
    [pytest.param(size, marks=[pytest.mark.slow] * (size != 96)) for size in (48, 64, 80, 96, 200)],
)
def test_on_a_disk_that_is_full_a_run_fails_in_order(tmp_path, whole, kilobytes):
    (tmp_path / "disk").mkdir()
    command = (
        "unshare",
        "-rm",
        "bash",
        "-c",
        ON_A_DISK,
        "-",
        str(kilobytes),
        *COMMAND,
        "generate",
        *SHORT,
    )
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("error: no room") == 1 and "Traceback" not in result.stderr
    facts = facts_of(tmp_path / "full")
    assert facts["status"] == "failed"
    assert not [
        path
        for path in (tmp_path / "full").rglob("*")
        if "writing" in path.name or path.name == ".lock"
    ]
    assert made(tmp_path / "run").files == whole[SHORT].files
    assert all(event["event"] for event in events_of(tmp_path / "run"))
    assert_clean(tmp_path / "run")

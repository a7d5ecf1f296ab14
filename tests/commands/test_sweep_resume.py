"""A sweep that was stopped goes on: what is done is kept, the rest is made, to the same bits."""

import json
import shutil
from hashlib import sha256

import pytest
from support.command_line import PROMPT, SMALLEST, confiner, facts_of, generate

from confiner_cli.runs import execute as run

pytestmark = pytest.mark.usefixtures("folder")
SWEEP = ("-m", PROMPT, "prompt=a green square", "seed=1,2", *SMALLEST, "output.dir=all")


def jobs(root):
    return sorted(path for path in root.iterdir() if path.is_dir())


def hashes(root):
    return {job.name: sha256((job / "video.mp4").read_bytes()).hexdigest() for job in jobs(root)}


def stopped_at(monkeypatch, number, error=KeyboardInterrupt):
    """Let the job of a number end badly, once."""
    write = run.write_contact_sheet

    def write_or_not(path, *arguments):
        if path.parent.name.startswith(f"{number}-"):
            monkeypatch.setattr(run, "write_contact_sheet", write)
            raise error
        write(path, *arguments)

    monkeypatch.setattr(run, "write_contact_sheet", write_or_not)


@pytest.fixture
def undisturbed(folder):
    """The videos of the sweep, had nothing happened."""
    assert generate(*SWEEP[:-1], "output.dir=undisturbed").code == 0
    return hashes(folder / "undisturbed")


def test_an_interrupted_sweep_keeps_what_is_done_and_makes_the_rest(
    folder, monkeypatch, undisturbed
):
    stopped_at(monkeypatch, 1)
    ending = generate(*SWEEP)
    root = folder / "all"
    assert ending.code == 130 and f"to go on: confiner resume {root}" in ending.err
    (kept,) = ending.folders
    before = (kept / "run.json").read_bytes()
    ending = confiner("resume", "all")
    assert ending.code == 0, ending.err
    assert "4 jobs in" in ending.err and "1 of them done before" in ending.err
    assert [path.name for path in ending.folders] == [job.name for job in jobs(root)]
    assert hashes(root) == undisturbed
    assert (kept / "run.json").read_bytes() == before
    assert [facts_of(job).get("resumed", 0) for job in jobs(root)] == [0, 1, 0, 0]
    assert not (root / ".sweep").exists() and not (root / ".lock").exists()


def test_the_same_command_goes_on_too_and_begins_where_there_is_none(folder, monkeypatch):
    stopped_at(monkeypatch, 2, ValueError("seven"))
    ending = generate(*SWEEP, "resume=true")
    assert ending.code == 1 and len(ending.folders) == 3
    ending = generate(*SWEEP, "resume=true")
    assert ending.code == 0 and len(ending.folders) == 4, ending.err
    again = generate(*SWEEP, "resume=true")
    assert again.code == 0 and sorted(again.folders) == sorted(ending.folders)
    refused = generate(*SWEEP)
    assert refused.code == 2 and "confiner resume" in refused.err


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("-m", PROMPT, "seed=1,2,3"), "seed was 1,2, is 1,2,3"),
        pytest.param(
            ("-m", PROMPT, "seed=1,2", "fps=8"),
            "fps was not said, is 8",
            marks=pytest.mark.thorough,
        ),
        pytest.param(("-m", "seed=1,2", PROMPT), "another order", marks=pytest.mark.thorough),
    ],
)
def test_another_command_is_refused_with_the_differences(folder, changed, said):
    words = (*SMALLEST, "output.dir=all")
    root = folder / "all"
    assert generate("-m", PROMPT, "seed=1,2", *words).code == 0
    before = hashes(root)
    ending = generate(*changed, *words, "resume=true")
    assert (ending.code, ending.out) == (2, "") and said in ending.err
    assert hashes(root) == before


def test_a_seed_that_was_drawn_stays_and_a_refused_job_leaves_its_folder(folder, monkeypatch):
    small = [word for word in SMALLEST if word != "height=16"]
    stopped_at(monkeypatch, 0, OSError(28, "No space left on device"))
    ending = generate("-m", PROMPT, "height=16,17", *small, "output.dir=all")
    assert ending.code == 1 and ending.out == ""
    root = folder / "all"
    (failed,) = root.glob("0-*")
    drawn = facts_of(failed)["seed"]
    assert (root / "1-failed").is_dir()
    record = json.loads((root / "sweep.json").read_text())
    record["words"] = [word.replace("16,17", "16,24") for word in record["words"]]
    (root / "sweep.json").write_text(json.dumps(record))
    ending = confiner("resume", "all")
    assert ending.code == 0, ending.err
    assert [facts_of(job)["seed"] for job in root.glob("0-*")] == [drawn]
    assert not (root / "1-failed").exists() and len(jobs(root)) == 2


@pytest.mark.thorough
def test_a_damaged_video_is_made_again_with_its_bits(folder):
    words = ("-m", PROMPT, "seed=1,2", *SMALLEST, "output.dir=all")
    assert generate(*words).code == 0
    root = folder / "all"
    before = hashes(root)
    (jobs(root)[1] / "video.mp4").write_bytes(b"")
    ending = confiner("resume", "all")
    assert ending.code == 0 and "1 of them done before" in ending.err
    assert hashes(root) == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"words": 3}', b'{"format": 9, "words": ["a=1"]}', b"\xff"]
)
def test_a_damaged_record_of_a_sweep_is_told_in_two_lines(folder, content):
    (folder / "all").mkdir()
    (folder / "all" / "sweep.json").write_bytes(content)
    ending = confiner("resume", "all")
    assert ending.code == 2 and len(ending.err.splitlines()) == 2, ending.err
    assert "confiner resume JOB_DIR" in ending.err


@pytest.mark.thorough
def test_a_job_in_the_folder_of_another_one_is_refused(folder):
    words = ("-m", PROMPT, *SMALLEST, "output.dir=all")
    assert generate(*words, "seed=1").code == 0
    record = json.loads((folder / "all" / "sweep.json").read_text())
    record["words"] = [word.replace("seed=1", "seed=2") for word in record["words"]]
    (folder / "all" / "sweep.json").write_text(json.dumps(record))
    (run_folder,) = jobs(folder / "all")
    (run_folder / "video.mp4").unlink()
    ending = confiner("resume", "all")
    assert ending.code == 1 and "is a job 0 with other values" in ending.err
    shutil.rmtree(run_folder)
    assert confiner("resume", "all").code == 0

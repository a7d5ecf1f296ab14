"""`hydra/launcher=slurm` on a real SLURM of one node."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.utils import JobStatus
from support.command_line import PROMPT, SMALLEST, confiner, ended, facts_of, started
from support.killing import SHORT, wait_for
from support.slurm_node import MOST, hurry, queued
from support.toy_jobs import GO, begun, beside, launched, wait_until

from confiner_cli.errors import ConfinerError
from confiner_cli.launchers import slurm_jobs
from confiner_cli.launchers.on_slurm import SlurmLauncher, SlurmSettings

pytestmark = pytest.mark.usefixtures("slurm")
ONE = {"cpus_per_task": 1}


@pytest.fixture
def impatient(monkeypatch):
    """SLURM is asked again soon, and a shared disk shows all at once."""
    monkeypatch.setattr(slurm_jobs, "BETWEEN_QUESTIONS", 0.3)
    monkeypatch.setattr(slurm_jobs, "GRACE", 0.3)


def values(returned):
    return [each.return_value for each in returned]


def test_more_jobs_than_an_array_takes_are_carried_out_and_return_no_configs(tmp_path, capsys):
    root = tmp_path / "sweep"
    returned = launched(SlurmLauncher(**ONE), ["ok"] * (MOST + 1), root, first=3)
    assert values(returned) == [2.0 * number for number in range(3, MOST + 4)]
    assert all((each.cfg, each.hydra_cfg) == (None, None) for each in returned)
    assert {each.cpus for each in begun(root)} == {"1"}
    assert not any(each.had_torch for each in begun(root))
    printed = capsys.readouterr()
    assert printed.out == "" and re.fullmatch(r"SLURM's jobs \d+ \d+; logs in .*\n", printed.err)
    left = {path.suffix for path in (root / ".slurm" / "launch-0").iterdir()}
    assert left == {".out", ".sh"}
    wait_until(lambda: not queued())


def test_jobs_of_a_pack_share_a_process_and_a_failed_one_is_hydra_s_error_in_the_end(tmp_path):
    root = tmp_path / "sweep"
    launcher = SlurmLauncher(jobs_per_worker=2, **ONE)
    returned = launched(launcher, ["ok", "raise", "ok", "ok"], root)
    processes = [begun(root, number)[0].process for number in range(4)]
    assert processes[0] == processes[1] != processes[2] == processes[3]
    assert [each.status == JobStatus.COMPLETED for each in returned] == [True, False, True, True]
    with pytest.raises(ConfinerError, match="ZeroDivisionError: seven by nought"):
        _ = returned[1].return_value


@pytest.mark.parametrize("how", ["requeue", "time"])
def test_a_pack_goes_on_with_the_job_that_it_was_at(tmp_path, how):
    root = tmp_path / "sweep"

    def interrupt():
        wait_until(lambda: begun(root, 1))
        (number,) = queued()
        if how == "requeue":
            subprocess.run(["scontrol", "requeue", number], check=True)
        else:  # what SLURM sends when the time is nearly up
            subprocess.run(["scancel", "--signal=USR2", number], check=True)
        hurry(number)
        wait_until(lambda: len(begun(root, 1)) == 2)
        (root / GO).touch()

    with beside(interrupt):
        returned = launched(SlurmLauncher(jobs_per_worker=3, **ONE), ["ok", "wait", "ok"], root)
    assert values(returned) == [0.0, 2.0, 4.0]
    assert [each.number for each in begun(root)] == [0, 1, 1, 2]


@pytest.mark.parametrize("how", ["scancel", "kill"])
def test_a_job_that_slurm_loses_is_told_with_number_reason_and_log(
    tmp_path, impatient, capsys, how
):
    root = tmp_path / "sweep"

    def cancel():
        wait_until(lambda: begun(root, 1))
        (number,) = (each for each in queued() if each.endswith("_1"))
        subprocess.run(["scancel", number], check=True)

    what, work = ("wait", cancel) if how == "scancel" else ("die", int)
    with beside(work):
        returned = launched(SlurmLauncher(**ONE), ["ok", what, "ok"], root)
    assert [each.status == JobStatus.COMPLETED for each in returned] == [True, False, True]
    said = capsys.readouterr().err
    state = "CANCELLED" if how == "scancel" else r"FAILED \(NonZeroExitCode\)"
    assert re.search(rf"job 1: error: SLURM's job \d+_1 ended before it was done: {state}", said)
    (log,) = re.findall(r"its log is (\S+)", said)
    assert "Starting with JobEnvironment" in Path(log).read_text()


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"partition": "none"}, "invalid partition"),
        ({"gpus_per_node": 1}, "configuration is not available|Invalid generic resource"),
        ({"additional_parameters": {"no-such-flag": 1}}, "unrecognized option"),
    ],
    ids=str,
)
def test_what_slurm_does_not_take_is_said_in_its_words_and_leaves_nothing(tmp_path, stated, said):
    with pytest.raises(ConfinerError, match=said) as caught:
        launched(SlurmLauncher(**stated), ["ok"], tmp_path / "sweep")
    assert "hydra.launcher.partition=" in caught.value.hint
    assert not list((tmp_path / "sweep").iterdir())


def test_one_gpu_is_asked_for_where_there_are_any():
    assert SlurmSettings().gpus() is None and SlurmSettings(gpus_per_node=2).gpus() == 2


def test_that_slurm_holds_a_job_is_said_and_the_sweep_waits(tmp_path, impatient, capsys):
    root = tmp_path / "sweep"
    held = {"additional_parameters": {"hold": True}}

    def release():
        wait_until(lambda: "JobHeld" in capsys.readouterr().err)
        (number,) = queued()
        subprocess.run(["scontrol", "release", number], check=True)

    with beside(release):
        assert values(launched(SlurmLauncher(**held), ["ok"], root)) == [0.0]


def test_jobs_of_an_earlier_launch_are_cancelled_before_others_start(tmp_path, capsys):
    root = tmp_path / "sweep"
    parent = killed_parent(root)
    wait_until(lambda: begun(root, 0))
    parent.kill()
    parent.communicate()
    before = queued()
    assert len(before) == 3
    (root / GO).touch()
    assert values(launched(SlurmLauncher(**ONE), ["ok"], root)) == [0.0]
    assert "cancelling SLURM's jobs of an earlier launch" in capsys.readouterr().err
    wait_until(lambda: not queued())


def killed_parent(root):
    program = (
        "from support.toy_jobs import launched; from pathlib import Path; import sys;"
        "from confiner_cli.launchers.on_slurm import SlurmLauncher;"
        "launched(SlurmLauncher(cpus_per_task=2), ['wait'] * 3, Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


SWEEP = ("generate", "-m", "hydra/launcher=slurm", "threads=1", "output.dir=all")


def test_a_sweep_hands_over_all_its_videos_and_one_gone_on_with_none_again(folder):
    words = (*SWEEP, PROMPT, "prompt=b", "prompt=c", "seed=1", *SMALLEST)
    more = ("hydra.launcher.jobs_per_worker=2", "hydra.launcher.cpus_per_task=1")
    ending = confiner(*words, *more)
    assert ending.code == 0, ending.err
    assert sorted(run.name[:2] for run in ending.folders) == ["0-", "1-", "2-"]
    assert [facts_of(run)["status"] for run in ending.folders] == ["done"] * 3
    (launch,) = (folder / "all" / ".slurm").glob("launch-*")
    assert len(list(launch.glob("*.out"))) == 2
    again = confiner("resume", "all")
    assert (again.code, sorted(again.folders)) == (0, sorted(ending.folders))
    assert list((folder / "all" / ".slurm").glob("launch-*")) == [launch]


def test_a_job_that_slurm_takes_back_goes_on_in_its_own_folder(folder):
    with started(*SWEEP, *SHORT, "hydra.launcher.cpus_per_task=1", folder=folder) as process:
        wait_until(lambda: list(folder.glob("all/0-*/events.jsonl")))
        (run,) = folder.glob("all/0-*/")
        wait_for(run, "structure", 1)
        (number,) = queued()
        subprocess.run(["scontrol", "requeue", number], check=True)
        hurry(number)
        ending = ended(process)
    assert (ending.code, ending.folders) == (0, [run]), ending.err
    facts = facts_of(run)
    assert (facts["status"], facts["resumed"]) == ("done", 1)
    assert [path for path in (folder / "all").iterdir() if path.name[0] == "0"] == [run]


@pytest.mark.slow
def test_a_job_that_slurm_loses_is_one_that_failed_and_the_next_attempt_makes_it(folder):
    words = (*SWEEP, "prompt=b", *SHORT, "hydra.launcher.cpus_per_task=1")
    with started(*words, folder=folder) as process:
        wait_until(lambda: list(folder.glob("all/1-*/events.jsonl")))
        (number,) = (each for each in queued() if each.endswith("_1"))
        subprocess.run(["scancel", number], check=True)
        ending = ended(process)
    assert (ending.code, len(ending.folders)) == (1, 1), ending.err
    assert ending.err.count(f"job 1: error: SLURM's job {number} ended before it was done") == 1
    again = confiner("resume", "all")
    assert (again.code, len(again.folders)) == (0, 2), again.err
    (run,) = folder.glob("all/1-*/")
    assert facts_of(run)["resumed"] == 1


def test_ctrl_c_cancels_all_jobs(folder):
    words = (*SWEEP, PROMPT, "prompt=b", "prompt=c", "num_frames=160", "long_video=confiner_long")
    with started(*words, folder=folder) as process:
        wait_until(lambda: list(folder.glob("all/*/run.json")))
        process.send_signal(signal.SIGINT)
        ending = ended(process)
    assert ending.code == 130, ending.err
    assert queued() == []
    (record,) = folder.glob("all/*/run.json")
    assert facts_of(record.parent)["status"] == "interrupted"

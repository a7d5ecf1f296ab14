"""`hydra/launcher=joblib`: jobs in processes of this machine, some of which die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hydra.core.utils import JobStatus
from support.command_line import PROMPT, SMALLEST, confiner, ended, facts_of, started
from support.toy_jobs import TIMEOUT, begun, launched, wait_until

from confiner_cli.errors import ConfinerError
from confiner_cli.launchers.on_joblib import JoblibLauncher


def test_jobs_go_to_processes_that_stay_and_return_no_configs(tmp_path, capfd):
    root = tmp_path / "sweep"
    returned = launched(JoblibLauncher(n_jobs=2), ["ok", "raise", "ok", "ok"], root, first=3)
    assert [each.status == JobStatus.COMPLETED for each in returned] == [True, False, True, True]
    assert [returned[number].return_value for number in (0, 2, 3)] == [6.0, 10.0, 12.0]
    with pytest.raises(ConfinerError, match="ZeroDivisionError: seven by nought"):
        _ = returned[1].return_value
    assert all((each.cfg, each.hydra_cfg) == (None, None) for each in returned)
    assert len({each.process for each in begun(root)}) <= 2
    assert not any(each.had_torch for each in begun(root))
    assert capfd.readouterr().out == ""


def test_of_jobs_at_work_when_a_process_dies_only_the_one_that_kills_it_is_given_up(
    tmp_path, capsys
):
    root = tmp_path / "sweep"
    prompts = ["ok", "die", "ok", "ok", "ok"]
    returned = launched(JoblibLauncher(n_jobs=2, max_retries=2), prompts, root)
    done = [each.status == JobStatus.COMPLETED for each in returned]
    assert done == [True, False, True, True, True]
    said = capsys.readouterr().err
    assert "job 1: error: its process was killed before it was done, 3 times" in said


def test_a_job_whose_process_is_killed_once_is_tried_again(tmp_path, capsys):
    root = tmp_path / "sweep"
    returned = launched(JoblibLauncher(n_jobs=1, max_retries=1), ["die once", "ok"], root)
    assert [each.return_value for each in returned] == [0.0, 2.0]
    assert "job 0 is tried again: a process was killed" in capsys.readouterr().err


LAUNCHING = """
from pathlib import Path
from support.toy_jobs import launched
from confiner_cli.launchers.on_joblib import JoblibLauncher
launched(JoblibLauncher(n_jobs=3), ["wait"], Path("sweep"))
"""


def test_processes_end_with_the_one_that_launches_also_those_without_a_job(tmp_path):
    paths = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHING],
        cwd=tmp_path,
        stdout=subprocess.PIPE,  # all of them have it open
        env={**os.environ, "PYTHONPATH": paths},
    )
    wait_until(lambda: begun(tmp_path / "sweep"))
    process.kill()
    assert process.communicate(timeout=TIMEOUT) == (b"", None)
    wait_until(lambda: (tmp_path / "sweep" / "0.terminated").exists())


@pytest.mark.thorough
def test_ctrl_c_lets_processes_write_down_that_they_were_interrupted(folder):
    words = ("generate", "-m", PROMPT, "prompt=b", "prompt=c", "hydra/launcher=joblib")
    long = ("hydra.launcher.n_jobs=2", "num_frames=160", "long_video=confiner_long")
    where = {"folder": folder, "start_new_session": True}
    with started(*words, *long, "output.dir=all", **where) as process:
        wait_until(lambda: len(list(folder.glob("all/*/run.json"))) == 2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        ending = ended(process)
    assert ending.code == 130, ending.err
    records = [facts_of(path.parent) for path in folder.glob("all/*/run.json")]
    assert [record["status"] for record in records] == ["interrupted"] * 2


@pytest.mark.thorough
def test_a_sweep_makes_all_its_videos(folder):
    words = ("-m", PROMPT, "prompt=b", "prompt=c", *SMALLEST, "hydra/launcher=joblib")
    ending = confiner("generate", *words, "hydra.launcher.n_jobs=2", "output.dir=all")
    assert ending.code == 0, ending.err
    assert len(list((folder / "all").glob("*/video.mp4"))) == 3

"""`hydra/launcher=ray` on a real Ray of this machine."""

from __future__ import annotations

import os
import signal

import pytest
from hydra.core.utils import JobStatus
from support.command_line import PROMPT, SMALLEST, confiner, facts_of
from support.toy_jobs import GO, begun, beside, launched, wait_until

from confiner_cli.errors import ConfinerError, Terminated
from confiner_cli.launchers import ray_workers
from confiner_cli.launchers.on_ray import OBJECT_STORE, RayLauncher
from confiner_cli.runs.workers.ray_cluster import OwnRay, ray_cluster

pytestmark = pytest.mark.usefixtures("ray")


@pytest.fixture(scope="module")
def cluster():
    """A Ray that launches of this module share, as a cluster that runs is shared."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with ray_cluster(OwnRay(2, OBJECT_STORE)) as cluster:
            yield cluster


def values(returned):
    return [each.return_value for each in returned]


def test_jobs_go_to_workers_that_stay_and_return_no_configs(cluster, folder, capfd):
    root = folder / "sweep"
    returned = launched(RayLauncher(), ["ok"] * 5, root, first=3)
    assert values(returned) == [6.0, 8.0, 10.0, 12.0, 14.0]
    assert all((each.cfg, each.hydra_cfg) == (None, None) for each in returned)
    assert len({each.process for each in begun(root)}) == 2
    assert not any(each.had_torch for each in begun(root))
    assert {each.folder for each in begun(root)} == {str(folder)}
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == "2 Ray workers (1 CPUs, 0 GPUs each); logs in Ray's session folder\n"


def test_a_worker_that_is_killed_costs_its_job_a_try(cluster, tmp_path, capfd):
    root = tmp_path / "sweep"

    def kill():
        wait_until(lambda: begun(root, 1))
        os.kill(begun(root, 1)[0].process, signal.SIGKILL)
        (root / GO).touch()

    with beside(kill):
        returned = launched(RayLauncher(), ["ok", "wait", "ok"], root)
    assert values(returned) == [0.0, 2.0, 4.0]
    assert sorted(each.number for each in begun(root)) == [0, 1, 1, 2]
    printed = capfd.readouterr()
    assert printed.out == "" and "job 1 is tried again: its Ray worker ended: " in printed.err


def test_a_job_that_kills_its_workers_is_given_up_in_words_and_others_go_on(
    cluster, tmp_path, capsys
):
    root = tmp_path / "sweep"
    returned = launched(RayLauncher(max_retries=1), ["die", "ok", "raise"], root)
    assert [each.status == JobStatus.COMPLETED for each in returned] == [False, True, False]
    assert len(begun(root, 0)) == 2 and len(begun(root, 2)) == 1
    said = capsys.readouterr().err
    assert "job 0: error: its Ray worker ended 2 times before it was done" in said
    with pytest.raises(ConfinerError, match="ZeroDivisionError: seven by nought"):
        _ = returned[2].return_value


def test_where_a_launch_is_broken_off_workers_write_it_down_and_none_is_left(
    cluster, tmp_path, monkeypatch
):
    root = tmp_path / "sweep"

    def interrupted(seconds):
        if len(begun(root)) == 2:
            raise Terminated

    monkeypatch.setattr(ray_workers.time, "sleep", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated):
        launched(RayLauncher(), ["wait"] * 3, root)
    monkeypatch.undo()
    wait_until(lambda: not any(alive(each.process) for each in begun(root)))
    assert len(list(root.glob("*.terminated"))) == 2
    assert signal.getsignal(signal.SIGTERM) is before


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_that_has_no_room_is_refused(cluster, tmp_path):
    with pytest.raises(ConfinerError, match="no room for a worker: it has 2 CPUs and 0 GPUs"):
        launched(RayLauncher(num_gpus=1), ["ok"], tmp_path / "sweep")


WORDS = ("generate", "-m", PROMPT, "prompt=b", "prompt=c", "prompt=d", "seed=1", *SMALLEST)


def test_a_sweep_hands_over_all_its_videos(cluster, folder):
    ending = confiner(*WORDS, "hydra/launcher=ray", "threads=1", "output.dir=all")
    assert ending.code == 0, ending.err
    assert sorted(run.name[:2] for run in ending.folders) == ["0-", "1-", "2-", "3-"]
    assert [facts_of(run)["status"] for run in ending.folders] == ["done"] * 4
    assert "Warning" not in ending.err and "pid=" not in ending.out + ending.err

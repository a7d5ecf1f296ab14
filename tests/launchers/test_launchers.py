"""Launchers as the command line chooses them, and what needs no cluster."""

from __future__ import annotations

import os
import sys

import pytest
from omegaconf import OmegaConf
from support.command_line import PROMPT, SMALLEST, confiner, generate
from support.toy_jobs import launched

from confiner_cli.config.places import config_dir
from confiner_cli.errors import ConfinerError
from confiner_cli.launchers import slurm_queue
from confiner_cli.launchers.on_joblib import JoblibSettings
from confiner_cli.launchers.on_ray import RaySettings
from confiner_cli.launchers.on_slurm import SlurmLauncher
from confiner_cli.launchers.registered import LAUNCHERS
from confiner_cli.launchers.slurm_queue import State
from confiner_cli.launchers.slurm_settings import SlurmSettings
from confiner_cli.launchers.stated import stated_settings

NAMES = {"slurm": SlurmSettings, "ray": RaySettings, "joblib": JoblibSettings}


@pytest.mark.parametrize("name", NAMES)
def test_a_config_states_what_its_launcher_takes_and_its_defaults(name):
    stated = OmegaConf.load(config_dir() / "hydra" / "launcher" / f"{name}.yaml")
    assert stated.pop("_target_") in LAUNCHERS
    assert stated_settings(NAMES[name], stated) == NAMES[name]()
    assert set(stated) == set(NAMES[name].__dataclass_fields__)


def test_a_launcher_is_chosen_and_set_on_the_command_line():
    shown = confiner(
        "generate", "--cfg", "hydra", "hydra/launcher=slurm", "hydra.launcher.partition=gpu"
    )
    assert shown.code == 0, shown.err
    assert "    partition: gpu\n" in shown.out and "hydra/launcher: slurm" in shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("hydra/launcher=slrum",), "did you mean slurm?"),
        (("hydra/launcher=slurm", "hydra.launcher.partitio=gpu"), "hydra.launcher.partitio"),
        (("hydra/launcher=slurm", "hydra.launcher.timeout_min=long"), "timeout_min: Value 'long'"),
        (("hydra/launcher=slurm", "hydra.launcher.jobs_per_worker=0"), "takes 1 or more"),
        (("hydra/launcher=ray", "hydra.launcher.workers=0"), "takes 1 or more"),
        (("hydra/launcher=joblib", "hydra.launcher.n_jobs=0"), "takes 1 or more, or -1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_no_launcher_takes_is_refused_before_a_job_begins(folder, words, said):
    ending = generate("-m", PROMPT, "prompt=b", *SMALLEST, *words)
    assert (ending.code, ending.out) == (2, "") and said in ending.err, ending.err
    assert not list(folder.rglob("run.json"))


@pytest.mark.parametrize(
    ("name", "module"), [("slurm", "submitit"), ("ray", "ray"), ("joblib", "joblib")]
)
def test_a_package_that_is_not_installed_is_named_with_what_installs_it(
    folder, monkeypatch, name, module
):
    monkeypatch.setitem(sys.modules, module, None)
    ending = generate("-m", PROMPT, "prompt=b", *SMALLEST, f"hydra/launcher={name}")
    assert ending.code == 2 and f"needs {module}, which is not installed" in ending.err
    assert f'hint: pip install "confiner[{name}]"' in ending.err


def test_where_there_is_no_slurm_its_launcher_says_so(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ConfinerError, match="needs sbatch, which is not on this machine"):
        launched(SlurmLauncher(), ["ok"], folder / "sweep")


def test_a_folder_that_slurm_would_call_by_another_name_is_refused(folder, monkeypatch):
    monkeypatch.setattr(slurm_queue, "check_installed", lambda: None)
    with pytest.raises(ConfinerError, match=r"50%j/\.slurm has a % in its name"):
        launched(SlurmLauncher(), ["ok"], folder / "50%j")


@pytest.mark.parametrize("name", ["slurm", "ray"])
def test_a_config_of_one_s_own_chooses_a_launcher(folder, name):
    (folder / "own").mkdir()
    (folder / "own" / "lab.yaml").write_text(
        f"defaults: [generate, _self_, {{override hydra/launcher: {name}}}]\n"
    )
    words = ("generate", "--config-dir", "own", "--config-name", "lab", "--cfg", "hydra")
    shown = confiner(*words)
    assert f"_target_: hydra_plugins.confiner.{name}\n" in shown.out, shown.err


def test_a_ray_that_is_not_there_is_refused_before_a_job_begins(folder):
    pytest.importorskip("ray")
    words = ("-m", PROMPT, "prompt=b", *SMALLEST, "hydra/launcher=ray")
    ending = generate(*words, "hydra.launcher.address=127.0.0.1:1")
    assert ending.code == 2 and "there is no Ray at" in ending.err, ending.err
    assert not list(folder.rglob("run.json"))


def said_by_slurm(monkeypatch, text):
    monkeypatch.setattr(slurm_queue, "_said", lambda *command: text)


def test_what_squeue_says_is_read_for_one_s_own_jobs_alone(monkeypatch):
    said_by_slurm(monkeypatch, "12_0|RUNNING|None\n12_1|CANCELLED|None\n7|PENDING|Resources\n")
    found = slurm_queue.states(["12"])
    assert found == {"12_0": State("RUNNING", "None"), "12_1": State("CANCELLED", "None")}
    assert [state.is_ended for state in found.values()] == [False, True]
    said_by_slurm(monkeypatch, None)
    assert slurm_queue.states(["12"]) is None


@pytest.mark.parametrize(
    ("partition", "said", "gpus"),
    [
        (None, "cpu* (null)\ngpu gpu:a100:8(S:0-1)\n", None),
        (None, "all* (null)\nall* gpu:2\n", 1),
        ("gpu", "gpu gpu:a100:8\n", 1),
        ("other", "other license:3,gpu:1\n", 1),
        ("other", "other gpux:3\n", None),
    ],
)
def test_one_gpu_is_asked_for_where_the_partition_has_any(monkeypatch, partition, said, gpus):
    said_by_slurm(monkeypatch, said)
    assert SlurmSettings(partition=partition).gpus() == gpus
    assert SlurmSettings(partition=partition, gpus_per_node=None).gpus() is None
    assert SlurmSettings(partition=partition, gpus_per_node=2).gpus() == 2


def test_a_job_of_slurm_that_this_process_is_in_is_not_handed_on(monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SLURM_CONF", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "1")
    with slurm_queue.outside_of_a_job():
        kept = {name for name in os.environ if name.startswith(("SLURM", "SBATCH"))}
    assert kept == {"SLURM_CONF", "SBATCH_ACCOUNT"}
    assert os.environ["SLURM_JOB_ID"] == "1"

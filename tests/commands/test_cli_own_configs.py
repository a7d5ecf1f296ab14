"""Every command takes configs of one's own, wherever the flags stand on the line."""

import json
import shutil

import pytest
from support.command_line import SMALLEST, confiner, facts_of, generate
from support.own_configs import OWN

FOLDER = ("--config-dir", str(OWN))
QUICKEST = ("num_frames=1", "height=16", "width=16", "experts=mytiny")


def test_a_run_with_configs_of_ones_own_is_gone_on_with_without_them(folder):
    own = shutil.copytree(OWN, folder / "own")
    words = ("+experiment=heart", "-cd", "own", *QUICKEST, "scheduler=fast", "output.dir=run")
    made = generate(*words).folder
    facts = facts_of(made)
    assert facts["prompt"] == "a red heart pulsing over the sea" and facts["seed"] == 3
    assert facts["config"]["experts"]["name"] == "mytiny"
    assert facts["evaluations"] == {"control": 2, "spatial": 1, "temporal": 1}
    assert "prompt: a red heart" in (made / ".hydra" / "config.yaml").read_text()
    assert "+experiment=heart" in (made / ".hydra" / "overrides.yaml").read_text()
    assert f"path: {own}" in (made / ".hydra" / "hydra.yaml").read_text()

    shutil.rmtree(own)
    facts["status"] = "interrupted"
    (made / "run.json").write_text(json.dumps(facts))
    (made / "video.mp4").unlink()
    assert confiner("resume", str(made)).code == 0
    assert facts_of(made)["config"] == facts["config"] | {
        "resume": True, "output": facts["config"]["output"] | {"dir": str(made)},
    }  # fmt: skip


@pytest.mark.thorough
def test_a_config_that_says_it_is_a_sweep_is_one_with_all_of_its_jobs(folder):
    words = [word for word in SMALLEST if not word.startswith("num_frames")]
    ending = generate(*words, "--config-name", "sw", *FOLDER, "output.dir=all")
    assert ending.code == 0, ending.err
    made = [(facts_of(run)["seed"], facts_of(run)["prompt"]) for run in ending.folders]
    assert made == [
        (seed, prompt)
        for seed in (1, 2)
        for prompt in ("a red heart, rising over the sea", "a green square falling")
    ]
    assert f"4 of 4 done in {folder / 'all'}" in ending.err


def test_a_root_without_defaults_is_refused_and_leaves_nothing(folder):
    for command in (("generate",), ("generate", "-m"), ("plan",)):
        ending = confiner(*command, *FOLDER, "-cn", "own_root")
        assert (ending.code, ending.out) == (2, "")
        assert ending.err.startswith("error: own_root.yaml inherits nothing")
        assert len(ending.err.splitlines()) == 2
    assert not any(folder.iterdir())


def test_a_plan_takes_them_and_counts_the_jobs_of_a_sweep():
    once = confiner("plan", "experts=mytiny", *FOLDER, "scheduler=fast")
    assert once.out.startswith("mytiny, fast: 16 frames"), once.err
    swept = confiner("plan", *FOLDER, "-cn", "sw", "scheduler=fast,steady")
    assert swept.out.startswith("8 jobs: seed (2), prompt (2), scheduler (2)\n"), swept.err
    for name in ("fast", "steady"):
        assert f"4 with scheduler={name}, each:\ntiny, {name}: 2 frames" in swept.out


def test_sets_of_ones_own_are_listed_checked_fetched_and_exported(folder):
    listed = confiner("experts", *FOLDER).out
    assert "\nmytiny " in listed and "\ntiny " in listed
    for words in (("download", "mytiny", *FOLDER), (*FOLDER, "export", "mytiny", "exported")):
        ending = confiner("experts", *words)
        assert ending.code == 0, ending.err
    assert (folder / "exported" / "spatial" / "unet").is_dir()
    typo = confiner("experts", "check", "mytni", *FOLDER)
    assert (typo.code, typo.err.splitlines()[0]) == (2, "error: experts=mytni is unknown")
    assert "did you mean mytiny?" in typo.err


@pytest.mark.thorough
def test_a_set_of_ones_own_is_checked():
    ending = confiner("experts", "check", *FOLDER, "mytiny")
    assert ending.code == 0 and "every tensor in its place" in ending.out


def test_flags_before_the_command_are_told_where_they_go():
    assert "confiner generate -cd" in confiner("-cd", str(OWN), "generate").err

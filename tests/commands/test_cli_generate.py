"""`confiner generate`: what it prints, where the run goes, and that the seed makes the frames."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.command_line import (
    PROMPT,
    QUICK,
    SMALLEST,
    confiner,
    ended,
    facts_of,
    generate,
)
from support.forked import forked
from support.nasty_prompts import NASTY

from confiner_cli.media.video import read_comment, read_video
from confiner_cli.runs import loaded_pipeline

pytestmark = pytest.mark.usefixtures("folder")

QUICK_RUN = ("generate", PROMPT, "seed=7", *QUICK, "output.save_latents=true")


def test_the_same_seed_gives_the_same_frames_in_two_processes_and_another_seed_others(folder):
    other = forked(*QUICK_RUN, folder=folder)
    here = confiner(*QUICK_RUN)
    there = ended(other)
    assert here.code == there.code == 0, here.err + there.err
    first, second = here.folder, there.folder
    assert first != second
    for name in ("video.mp4", "structure.mp4"):
        assert torch.equal(read_video(first / name), read_video(second / name))
    changed = generate(PROMPT, "seed=8", *QUICK).folder
    assert not torch.equal(read_video(first / "video.mp4"), read_video(changed / "video.mp4"))


def test_stdout_has_the_absolute_path_and_stderr_the_rest(folder):
    ending = generate("prompt=A red heart, rising!", "seed=7", *QUICK)
    assert ending.out == f"{ending.folder / 'video.mp4'}\n"
    where = ending.folder.relative_to(folder)
    assert re.fullmatch(r"outputs/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-a-red-heart-rising-s7", str(where))
    assert re.search(
        r"^refinement: 3 of 3 evaluations.*^done: .*evaluations: control 1, spatial 1, temporal 1",
        ending.err,
        re.M | re.S,
    )


def test_a_drawn_seed_is_recorded_and_in_the_name():
    folder = generate("prompt=a red heart", *SMALLEST).folder
    seed = facts_of(folder)["seed"]
    assert folder.name.endswith(f"-s{seed}")
    assert facts_of(folder)["config"]["seed"] == seed


@pytest.mark.parametrize("role", ["spatial", "temporal"])
def test_an_expert_alone_is_the_only_one_asked_and_its_structure_is_the_result(role):
    words = (f"scheduler={role}_alone", "scheduler.structure.num_inference_steps=2", "num_frames=4")
    folder = generate(PROMPT, *words, "output.save_latents=true").folder
    assert facts_of(folder)["evaluations"] == {"control": 0, "spatial": 0, "temporal": 0} | {
        role: 2
    }
    latents = load_file(folder / "latents.safetensors")
    assert latents["structure"].shape == (1, latents["structure"].shape[1], 4, 8, 8)
    assert torch.equal(latents["structure"], latents["refined"])
    assert torch.equal(read_video(folder / "structure.mp4"), read_video(folder / "video.mp4"))


def test_output_dir_is_the_folder_itself_and_is_not_touched_twice(folder):
    words = (PROMPT, *SMALLEST, "output.dir=runs/a b")
    assert generate(*words).folder == folder / "runs" / "a b"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert generate(*words).code == 2
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_nasty_prompts_reach_run_json_and_comment_unchanged():
    # One of each kind: what Hydra, YAML, OmegaConf or JSON would read as something else.
    prompts = ["null", "a=b", '"it\'s"', "a\\,b", "${oc.env:HOME}", "# a", "💛"]
    assert {*prompts} <= {*NASTY}
    ending = generate("-m", *SMALLEST, "seed=1", *(f"prompt={text}" for text in prompts))
    assert ending.code == 0, ending.err
    for folder, text in zip(ending.folders, prompts, strict=True):
        assert facts_of(folder)["prompt"] == facts_of(folder)["config"]["prompt"] == text
        comment = json.loads(read_comment(folder / "video.mp4"))
        assert comment["prompt"] == comment["config"]["prompt"] == text


def test_an_interpolation_stays_text_everywhere():
    folder = generate("prompt=${oc.env:HOME}", "negative_prompt=${seed}", *SMALLEST).folder
    assert facts_of(folder)["prompt"] == "${oc.env:HOME}"
    home = str(Path.home()).encode()
    texts = [
        path.read_bytes() for path in (folder / ".hydra").iterdir() if path.name != "hydra.yaml"
    ]
    texts += [
        (folder / name).read_bytes()
        for name in ("run.json", "run.log", "video.mp4", "events.jsonl")
    ]
    assert len(texts) == 6
    assert not any(b"prompt: " + home in text or b'"' + home + b'"' in text for text in texts)
    assert json.loads(read_comment(folder / "video.mp4"))["negative_prompt"] == "${seed}"


def test_without_metadata_the_file_does_not_tell_the_prompt():
    words = ("prompt=an unmistakable heart", *SMALLEST)
    told, untold = (
        generate(*words, f"output.metadata={word}").folder for word in ("true", "false")
    )
    assert b"unmistakable" in (told / "video.mp4").read_bytes()
    for name in ("video.mp4", "structure.mp4"):
        content = (untold / name).read_bytes()
        assert not any(word in content for word in (b"unmistakable", b"seed", b"stable_diffusion"))


def test_a_prompt_outside_the_world_is_noticed_in_one_line_with_three_examples():
    outside = generate("prompt=a corgi in Paris", *SMALLEST)
    (notice,) = [line for line in outside.err.splitlines() if line.startswith("notice: ")]
    assert "corgi" in notice and "paris" in notice and "circle" in notice
    assert len(re.findall(r'"[^"]+"', notice)) == 3
    assert "notice" not in generate(PROMPT, *SMALLEST).err


@pytest.mark.parametrize("role", ["control", "spatial", "temporal"])
def test_not_a_number_names_the_expert_and_fails(folder, monkeypatch, role):
    load = loaded_pipeline.load_expert

    class Nowhere:
        def __call__(self, x_t, t, conditioning):
            return x_t * torch.nan

        def remembering(self, conditioning):
            return conditioning

    def broken(asked, *arguments):
        expert = load(asked, *arguments)
        return dataclasses.replace(expert, network=Nowhere()) if asked == role else expert

    monkeypatch.setattr(loaded_pipeline, "load_expert", broken)
    ending = generate(PROMPT, *QUICK, "output.dir=run")
    assert (ending.code, ending.out) == (1, "")
    assert f"error: the {role} expert" in ending.err and "not finite" in ending.err
    facts = facts_of(folder / "run")
    assert facts["status"] == "failed" and role in facts["error"]
    assert not (folder / "run" / "video.mp4").exists()

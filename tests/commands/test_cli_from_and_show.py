"""`from=` makes a recorded video again; `show` prints the record."""

import json

import pytest
import torch
import yaml
from support.command_line import SMALLEST, confiner, facts_of, generate

from confiner_cli.media.video import read_video, write_video

pytestmark = pytest.mark.usefixtures("folder")

WORDS = (
    "prompt=a ${red} heart, rising", "negative_prompt=grass",
    "seed=7", "num_frames=3", "height=32", "fps=5",
    "scheduler.structure.num_inference_steps=1", "scheduler.refinement.num_inference_steps=2",
    "scheduler.refinement.pattern=[standard,interleaved]", "scheduler.refinement.te=50",
    "experts.spatial.guidance_scale=1.5",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return generate(*WORDS, f"output.dir={tmp_path_factory.mktemp('made') / 'run'}").folder


@pytest.mark.parametrize(
    "name",
    [
        "",
        pytest.param("video.mp4", marks=pytest.mark.thorough),
        pytest.param("structure.mp4", marks=pytest.mark.thorough),
    ],
)
def test_from_a_run_or_its_videos_the_same_frames_are_made_again(made, name):
    again = generate(f"from={made / name}").folder
    assert torch.equal(read_video(again / "video.mp4"), read_video(made / "video.mp4"))
    was, now = facts_of(made), facts_of(again)
    assert was["config"].pop("output") != now["config"].pop("output")
    assert was["config"] == now["config"]


def test_from_a_video_without_its_folder(made, folder):
    alone = folder / "alone, (copy).mp4"
    alone.write_bytes((made / "video.mp4").read_bytes())
    again = generate(f"from={alone}").folder
    assert torch.equal(read_video(again / "video.mp4"), read_video(made / "video.mp4"))


def test_overrides_apply_on_top_of_the_record(made):
    config = facts_of(
        generate(f"from={made}", "seed=8", "scheduler=temporal_alone", SMALLEST[-1]).folder
    )["config"]
    assert (config["prompt"], config["seed"], config["num_frames"]) == (
        "a ${red} heart, rising",
        8,
        3,
    )
    assert (
        config["scheduler"]["name"],
        config["scheduler"]["refinement"]["num_inference_steps"],
    ) == (
        "temporal_alone",
        0,
    )


@pytest.mark.thorough
def test_a_record_can_be_swept(made):
    ending = generate(f"from={made / 'video.mp4'}", "-m", "seed=7,8")
    frames = [read_video(run / "video.mp4") for run in ending.folders]
    assert torch.equal(frames[0], read_video(made / "video.mp4"))
    assert not torch.equal(frames[1], frames[0])


@pytest.mark.parametrize("name", ["", "video.mp4"])
def test_show_prints_the_record_as_yaml(made, name):
    ending = confiner("show", str(made / name))
    assert (ending.code, ending.err) == (0, "")
    shown = yaml.safe_load(ending.out)
    facts = facts_of(made)
    assert all(
        shown[key] == facts[key] for key in ("prompt", "negative_prompt", "seed", "versions")
    )
    assert shown["config"]["scheduler"] == facts["config"]["scheduler"]
    assert f"confiner generate from={made / name}" in ending.out


def test_a_foreign_video_is_told_from_ours(folder):
    write_video(
        folder / "foreign.mp4",
        torch.zeros(2, 16, 16, 3, dtype=torch.uint8),
        (16, 16),
        8,
        '{"a": 1}',
    )
    for words in (("show", "foreign.mp4"), ("generate", "from=foreign.mp4")):
        ending = confiner(*words)
        assert ending.code == 2
        assert ending.err.startswith("error: foreign.mp4 does not say how it was made\nhint: ")
    assert [path.name for path in folder.iterdir()] == ["foreign.mp4"]


@pytest.mark.parametrize(
    "setting",
    [
        {
            "+hydra.callbacks": {
                "x": {"_target_": "logging.FileHandler", "filename": "precious.txt", "mode": "w"}
            }
        },
        {"hydra": {"run": {"dir": "elsewhere"}}},
        {"hydra/job_logging": "default"},
        {"experts": {"spatial": {"_target_": "os.mkdir", "name": "ran"}}},
        {"~seed": 1},
    ],
)
def test_a_record_from_elsewhere_reaches_no_setting_but_ours(folder, setting):
    (folder / "precious.txt").write_text("precious")
    record = {"prompt": "a heart", "config": {"experts": {}, "prompt": "a heart", **setting}}
    frames = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    write_video(folder / "planted.mp4", frames, (16, 16), 8, json.dumps(record))
    ending = generate("from=planted.mp4", "seed=1")
    assert ending.code == 2 and "a setting that confiner does not have" in ending.err, ending
    assert {path.name for path in folder.iterdir()} == {"planted.mp4", "precious.txt"}
    assert (folder / "precious.txt").read_text() == "precious"


def test_a_refused_job_can_be_shown_but_not_made_again(folder):
    assert generate("-m", "prompt=a heart", "height=17", "output.dir=all").code == 1
    (refused,) = (path.parent for path in folder.glob("all/*/run.json"))
    assert "height=17 is not a multiple of 8" in confiner("show", str(refused)).out
    ending = generate(f"from={refused}")
    assert (ending.code, len(ending.err.splitlines())) == (2, 2)

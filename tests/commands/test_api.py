"""The same from Python: six lines, no files, no global state, the command's frames."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from support.command_line import PROMPT, QUICK, generate
from support.own_configs import OWN

from confiner_cli import load
from confiner_cli.errors import ConfinerError
from confiner_cli.media.video import read_video, write_video
from confiner_cli.runs.provenance import recipe

pytestmark = pytest.mark.usefixtures("folder")

TEXT = PROMPT.partition("=")[2]


@pytest.fixture(scope="module")
def quick():
    return load("tiny", *QUICK)


def test_six_lines_make_a_video_and_only_the_file_that_is_saved(folder):
    from confiner_cli import load

    confiner = load("tiny", "scheduler.structure.num_inference_steps=1")
    video = confiner.generate("a red heart rising over the sea", seed=7, num_frames=4)
    frames = video.frames
    assert not any(folder.iterdir())
    video.save("heart.mp4")

    assert (frames.shape, frames.dtype) == ((4, 64, 64, 3), torch.uint8)
    assert video.evaluations == {"control": 1, "temporal": 2, "spatial": 2}
    assert [path.name for path in folder.iterdir()] == ["heart.mp4"]
    assert read_video(Path("heart.mp4")).shape == frames.shape


def test_the_frames_are_those_that_the_command_encodes(quick, folder):
    video = quick.generate(TEXT, "threads=1", seed=7)
    made = generate(PROMPT, "seed=7", "threads=1", *QUICK).folder
    for name, frames in (("video.mp4", video.frames), ("structure.mp4", video.structure)):
        write_video(folder / name, frames, tuple(frames.shape[1:3]), 8)
        assert torch.equal(read_video(folder / name), read_video(made / name))


def test_many_prompts_of_one_set_differ_and_repeat(quick):
    first, second, again = (
        quick.generate(text, seed=7).frames for text in (TEXT, "a blue star", TEXT)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_frames": "8"},
        {"num_frames": 7.5},
        {"fps": "7"},
        {"seed": True},
        {"height": None, "width": "x"},
    ],
)
def test_a_value_of_another_type_is_refused_by_name(quick, settings):
    with pytest.raises(ConfinerError, match=r"is not a (whole )?number"):
        quick.generate(TEXT, **settings)


@pytest.mark.parametrize(
    ("overrides", "settings", "words"),
    [
        ((), {"negative_prompt": 7}, "negative_prompt=7 is not a text"),
        ((), {"seeds": []}, "makes no video"),
        (("seed=1", "seed=2"), {}, "seed= is given 2 times"),
        (("sed=1",), {}, "no setting 'sed'"),
        ((), {"seed": 1, "seeds": [1, 2]}, "seed= and seeds= are given together"),
        (("batch=4",), {}, "batch= is for the command"),
        (("resume=true",), {}, "resume= is for the command"),
        (("output.dir=here",), {}, "output.dir= is for the command"),
    ],
)
def test_what_the_command_refuses_is_refused_here(quick, overrides, settings, words):
    with pytest.raises(ConfinerError, match=words):
        quick.generate(TEXT, *overrides, **settings)


@pytest.mark.parametrize("keyword", ["sed", "scheduler"])
def test_a_keyword_that_there_is_not_is_a_type_error(quick, keyword):
    with pytest.raises(TypeError, match=keyword):
        quick.generate(TEXT, **{keyword: 1})


def test_seeds_make_a_video_each_as_they_do_alone_but_for_the_last_bits(quick):
    videos = quick.generate(TEXT, seeds=[7, 8])
    assert [video.job.seed for video in videos] == [7, 8]
    for video in videos:
        alone = quick.generate(TEXT, seed=video.job.seed)
        assert video.evaluations == alone.evaluations
        for name in ("frames", "structure"):
            difference = getattr(video, name).int() - getattr(alone, name).int()
            assert difference.abs().max() <= 1


def test_numbers_may_be_numpys_or_torchs(quick):
    seeds = np.arange(2**63, 2**63 + 2, dtype=np.uint64)
    videos = quick.generate(
        TEXT,
        seeds=seeds,
        num_frames=np.int32(2),
        height=np.int64(16),
        width=torch.tensor(16),
        fps=np.float32(8),
        frame_batch=np.int8(1),
        prompts={np.int64(1): "a blue star"},
    )
    assert [video.job.seed for video in videos] == [2**63, 2**63 + 1]
    settings = videos[1].settings
    assert (settings.num_frames, settings.height, settings.width) == (2, 16, 16)
    assert (settings.fps, settings.frame_batch) == (8.0, 1)
    assert settings.prompts == {1: "a blue star"}
    facts = json.loads(recipe(settings, videos[1].weights))
    assert facts["seed"] == facts["config"]["seed"] == 2**63 + 1
    alone = quick.generate(TEXT, seed=np.int64(3), num_frames=1, height=16, width=16)
    assert type(alone.settings.seed) is int and alone.settings.seed == 3


def test_seeds_that_are_no_list_are_refused(quick):
    with pytest.raises(ConfinerError, match="seeds=3 is no list"):
        quick.generate(TEXT, seeds=3)
    with pytest.raises(ConfinerError, match="makes no video"):
        quick.generate(TEXT, seeds=np.arange(0))


def test_a_folder_of_configs_and_entries_of_lists_are_taken_from_python():
    word = "experts.spatial.loras=[{path:~/a.safetensors}]"
    with load("mytiny", "scheduler=fast", config_dir=OWN) as confiner:
        asked = confiner._settings_with(
            ["+experiment=heart", word, "experts.spatial.loras.0.scale=0.5"]
        )
        assert asked.experts.name == "mytiny" and asked.scheduler.name == "fast"
        assert (asked.seed, asked.experts.spatial.loras[0].scale) == (3, 0.5)


def test_networks_are_freed_at_the_end_of_with_and_weights_are_loaded_at_once():
    with load("tiny", *QUICK) as confiner:
        assert len(confiner.networks.modules) == 5  # three UNets, a text encoder, a VAE
    assert not confiner.networks.modules


def test_keywords_of_load_are_settings_of_every_video():
    with load("tiny", *QUICK, scheduler="confiner_9", memory="low") as confiner:
        video = confiner.generate(TEXT, seed=7)
    settings = video.settings
    assert (settings.scheduler.name, settings.memory) == ("confiner_9", "low")


def test_overrides_are_verbatim_and_notices_come_along(quick):
    video = quick.generate("a corgi", "negative_prompt=${oc.env:HOME}, a (b)", seed=1, num_frames=1)
    assert video.settings.negative_prompt == "${oc.env:HOME}, a (b)"
    assert "never learnt corgi" in video.notices[0]


def test_prompts_are_verbatim_also_from_python(quick):
    video = quick.generate("${oc.env:HOME}, 'a' = ???", negative_prompt="${seed}", num_frames=1)
    assert (video.settings.prompt, video.settings.negative_prompt) == (
        "${oc.env:HOME}, 'a' = ???",
        "${seed}",
    )
    assert video.settings.seed is not None


def test_overrides_of_a_call_are_those_of_the_command_line():
    confiner = load("tiny", "num_frames=1")
    video = confiner.generate(
        TEXT, "scheduler=spatial_alone", "scheduler.structure.num_inference_steps=2"
    )
    assert video.evaluations == {"spatial": 2}
    assert torch.equal(video.frames, video.structure)


def test_hydra_s_global_state_is_left_alone(quick):
    assert not GlobalHydra.instance().is_initialized()
    quick.generate(TEXT, "seed=7", num_frames=1)
    assert not GlobalHydra.instance().is_initialized()


def test_a_notebook_shows_the_video(quick, folder):
    page = quick.generate(TEXT, seed=7)._repr_html_()
    (data,) = re.findall(r'<video [^>]*src="data:video/mp4;base64,([^"]+)"', page)
    (folder / "shown.mp4").write_bytes(base64.b64decode(data))
    assert len(read_video(folder / "shown.mp4")) == 4


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda _: load("tinny"), "experts=tinny is unknown"),
        (lambda _: load("tiny", "sed=1"), "sed"),
        (lambda _: load("tiny", "device=toaster"), "device"),
        (lambda confiner: confiner.generate(" "), "empty"),
        (lambda confiner: confiner.generate(TEXT, num_frames=17), "16"),
        (lambda confiner: confiner.generate(TEXT, "scheduler=confiner_8"), "confiner_8"),
    ],
)
def test_errors_are_ours_and_name_the_value(quick, call, words):
    with pytest.raises(ConfinerError, match=words):
        call(quick)

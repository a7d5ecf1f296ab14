"""What the files of a Wan expert say is honoured, or stops the run before a weight is read."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import lora_files, umt5_files
from support import tiny_networks as tiny
from support.family_experts import CPU, T, load, sample, spec_of

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.coded_space import coded_space
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.spec import LoraSpec
from wan.folder import WanFolder

WEIGHTS = "diffusion_pytorch_model.safetensors"
FLOW_MATCH = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "wan"
    WanFolder(folder, tiny=True, gates=True).write()
    return folder


@pytest.fixture
def model(written, tmp_path):
    """A copy that may be changed."""
    return Path(shutil.copytree(written, tmp_path / "wan"))


def spec(model, **changes):
    return replace(spec_of("wan", model), model=str(model), shared=None, **changes)


def stating(path, **facts):
    """The JSON file with these facts changed."""
    stated = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**stated, **facts}), encoding="utf-8")


def refused(named, words, hint="experts.temporal."):
    """The expert is, in two lines; networks are loaded when they are called, and none is."""
    with pytest.raises(ConfinerError, match=words) as caught:
        load("wan", named)
    assert hint in caught.value.hint and caught.value.exit_code == 2
    assert len(caught.value.lines().splitlines()) == 2


def test_as_it_is_published_it_answers(model):
    assert load("wan", spec(model)).condition("a heart")(sample(2, 1, "wan"), T).passes == 1


def wider_umt5(folder):
    umt5_files.network(48).save_pretrained(folder / "text_encoder")


def clip(folder):
    tokenizer = tiny.spelling_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    tiny.text_encoder(tokenizer).save_pretrained(folder / "text_encoder")


@pytest.mark.parametrize(("written_by", "width"), [(wider_umt5, 48), (clip, tiny.WIDTH)])
def test_a_text_encoder_of_another_width_is_refused(written_by, width, model):
    shutil.rmtree(model / "text_encoder")
    written_by(model)
    refused(spec(model), rf"reads texts of width 32, .* writes {width}")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"in_channels": 36}, "takes 36 channels, as one for inpainting or editing"),
        ({"image_dim": 1280}, r"takes an image beside the text \(image_dim=1280\)"),
        ({"added_kv_proj_dim": 5120}, "takes an image beside the text"),
        ({"_class_name": "WanVACETransformer3DModel"}, "is a WanVACETransformer3DModel"),
        (
            {"in_channels": 48, "out_channels": 48},
            "latents of 48 channels, and those of latent_space=wan21 have 16",
        ),
    ],
)
def test_a_transformer_that_wants_other_inputs_is_refused_as_what_it_is(facts, words, model):
    stating(model / "transformer" / "config.json", **facts)
    refused(spec(model), f"temporal expert's transformer in .* {words}", "experts.temporal.model=")


@pytest.mark.parametrize(
    ("facts", "hint"),
    [
        ({"flow_shift": 5.0}, "experts.temporal.flow_shift=5.0"),
        ({"prediction_type": "epsilon"}, "experts.temporal.prediction_type=epsilon"),
        ({"num_train_timesteps": 500}, "experts.temporal.num_train_timesteps=500"),
        ({"use_dynamic_shifting": True}, "another schedule"),
        ({"shift_terminal": 0.02}, "another schedule"),
    ],
)
def test_a_schedule_that_its_folder_states_is_ours_or_stops_the_run(facts, hint, model):
    stating(model / "scheduler" / "scheduler_config.json", **facts)
    refused(spec(model), f"{next(iter(facts))}=", hint)
    refused(spec(model / "transformer", text_encoder=str(model)), f"{next(iter(facts))}=", hint)


def test_a_shift_may_be_stated_as_another_sampler_names_it(model):
    path = model / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**FLOW_MATCH, "shift": 3.0, "use_dynamic_shifting": False}))
    load("wan", spec(model))
    stating(path, shift=5.0)
    refused(spec(model), r"flow_shift=3\.0, but .* says 5\.0", "experts.temporal.flow_shift=5.0")


def test_beside_gates_of_sparse_attention_no_unknown_tensor_is_passed_over(model):
    path = model / "transformer" / WEIGHTS
    save_file({**load_file(path), "blocks.0.to_gate.weight": torch.ones(2)}, path)
    expert = load("wan", spec(model), cache=NetworkCache())
    with pytest.raises(ConfinerError, match=r"unknown 1 tensors \(blocks\.0\.to_gate\.") as caught:
        expert.load()
    assert len(caught.value.lines().splitlines()) == 2


def of_pictures():
    return tiny.vae()


def of_48_channels():
    moments = {"latents_mean": [0.0] * 48, "latents_std": [1.0] * 48}
    return tiny.video_vae(**tiny.RESIDUAL, z_dim=48, **moments)


@pytest.mark.parametrize(
    ("vae", "words"),
    [
        (of_pictures, "has 4 frames a latent, and the VAE of experts.temporal 1"),
        (of_48_channels, "has 16 channels, and the VAE of experts.temporal 48"),
    ],
)
def test_a_vae_of_another_latent_space_is_refused(vae, words, model):
    shutil.rmtree(model / "vae")
    vae().save_pretrained(model / "vae")
    with pytest.raises(ConfinerError, match=words) as caught:
        coded_space("temporal", spec(model), CPU, torch.float32, POLICIES["high"], NetworkCache())
    assert "experts.temporal.model= or shared=" in caught.value.hint
    assert len(caught.value.lines().splitlines()) == 2


def test_no_lora_is_merged_into_a_transformer(model, tmp_path):
    factors = {"blocks.0.attn1.to_q": (torch.ones(2, 24), torch.ones(24, 2))}
    style = lora_files.write(tmp_path / "style.safetensors", lora_files.peft(factors))
    named = spec(model, loras=[LoraSpec(str(style))])
    refused(named, r"experts\.temporal\.loras: .* network is a transformer", "leave out")

"""What a model's files say of it is honoured, is known to change nothing, or stops the run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from safetensors.torch import load_file, save_file
from support import original_layout, published
from support.family_experts import CACHE, CPU, load, spec_of

from confiner_cli.config.experts import check_experts
from confiner_cli.config.schema import ExpertSetSettings
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.loading import load_decoder
from confiner_cli.experts.offload import POLICIES
from confiner_cli.method.schedule import scaled_linear, with_zero_snr

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
UNET = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def model(tmp_path):
    published.stable_diffusion(tmp_path / "sd", fp16=False)
    return tmp_path / "sd"


def spec(model, shared=None, **changes):
    stated = replace(spec_of("stable_diffusion", model.parent), **{**SD, **changes})
    return replace(stated, model=str(model), shared=str(shared or model))


def stating(path, **facts):
    """The JSON file with these facts changed."""
    stated = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**stated, **facts}), encoding="utf-8")


def refused(words, named, hint=""):
    with pytest.raises(ConfinerError, match=words) as caught:
        load("stable_diffusion", named)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("facts", "hint"),
    [
        ({"rescale_betas_zero_snr": True}, "experts.spatial.rescale_betas_zero_snr=true"),
        ({"prediction_type": "v_prediction"}, "experts.spatial.prediction_type=v_prediction"),
        ({"prediction_type": "flow_prediction"}, ""),
        ({"num_train_timesteps": 500}, "experts.spatial.num_train_timesteps=500"),
        ({"trained_betas": [0.1, 0.2]}, ""),
        ({"use_flow_sigmas": True}, ""),
        ({"timestep_type": "continuous"}, ""),
        ({"shift": 3.0}, ""),
        ({"sigma_data": 0.5}, ""),
    ],
)
def test_a_schedule_that_a_folder_states_is_ours_or_stops_the_run(facts, hint, model):
    stating(model / "scheduler" / "scheduler_config.json", **facts)
    refused(f"{next(iter(facts))}=", spec(model), hint)
    refused(f"{next(iter(facts))}=", spec(model / "unet", model), hint)


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler,
        DPMSolverMultistepScheduler,
        EulerDiscreteScheduler,
        PNDMScheduler,
        UniPCMultistepScheduler,
    ],
)
def test_how_another_sampler_steps_changes_nothing_here(scheduler, model):
    shutil.rmtree(model / "scheduler", ignore_errors=True)
    scheduler(**SD, timestep_spacing="leading").save_pretrained(model / "scheduler")
    load("stable_diffusion", spec(model))


def test_a_schedule_stretched_to_pure_noise_is_that_of_diffusers():
    ours = with_zero_snr(scaled_linear()).alphas_cumprod
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    theirs = torch.cumprod(1 - rescale_zero_terminal_snr(betas), dim=0)
    assert ours[-1] == 0
    assert torch.allclose(torch.tensor(ours, dtype=torch.float64), theirs, rtol=1e-9, atol=1e-12)


def test_an_expert_may_be_on_the_stretched_schedule_where_its_folder_says_so(model):
    facts = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    stating(model / "scheduler" / "scheduler_config.json", **facts)
    expert = load("stable_diffusion", spec(model, **facts))
    assert expert.schedule.level(999).signal == 0


def test_a_stretched_schedule_does_not_go_with_an_epsilon_prediction(model):
    named = spec(model, rescale_betas_zero_snr=True)
    with pytest.raises(ConfinerError, match="pure noise"):
        check_experts(ExpertSetSettings("x", control=named, spatial=named, temporal=named))


@pytest.mark.parametrize(
    "facts",
    [
        {"in_channels": 9},
        {"in_channels": 8},
        {"addition_embed_type": "text_time"},
        {"time_cond_proj_dim": 256},
        {"class_embed_type": "timestep"},
    ],
)
def test_a_unet_that_wants_other_inputs_is_refused_as_what_it_is(facts, model):
    stating(model / "unet" / "config.json", **facts)
    refused(next(iter(map(str, facts.values()))), spec(model))


def single(model, **marks):
    tensors = original_layout.unet(load_file(model / "unet" / UNET))
    save_file({**tensors, **marks}, path := model.parent / "one.safetensors")
    return path


def test_an_inpainting_checkpoint_is_refused_as_what_it_is(model):
    name = "model.diffusion_model.input_blocks.0.0.weight"
    refused("9 channels", spec(single(model, **{name: torch.ones(8, 9, 3, 3)}), model))


@pytest.mark.parametrize(
    ("mark", "hint"),
    [
        ("v_pred", "experts.spatial.prediction_type=v_prediction"),
        ("ztsnr", "experts.spatial.rescale_betas_zero_snr=true"),
    ],
)
def test_how_a_checkpoint_says_it_was_trained_is_heard(mark, hint, model):
    path = single(model, **{mark: torch.ones(0)})
    refused(hint.partition("=")[0], spec(path, model), hint)
    trained = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    load("stable_diffusion", spec(path, model, **trained))


def test_what_a_checkpoints_metadata_says_is_heard(model):
    path = single(model)
    save_file(load_file(path), path, metadata={"modelspec.prediction_type": "v"})
    refused("prediction_type", spec(path, model), "prediction_type=v_prediction")


def test_the_schedule_in_a_checkpoint_is_held_against_ours(model):
    table = torch.tensor(scaled_linear().alphas_cumprod)
    load("stable_diffusion", spec(single(model, alphas_cumprod=table), model))
    stretched = torch.tensor(with_zero_snr(scaled_linear()).alphas_cumprod)
    refused("alphas_cumprod", spec(single(model, alphas_cumprod=stretched), model))
    refused("alphas_cumprod", spec(single(model, alphas_cumprod=table[:500].clone()), model))


@pytest.mark.parametrize(
    "facts",
    [
        {"shift_factor": 0.1},
        {"latents_mean": [0.0] * 4},
        {"latents_std": [1.0] * 4},
        {"_class_name": "AutoencoderTiny"},
    ],
)
def test_a_vae_that_scales_latents_in_another_way_is_refused(facts, model):
    stating(model / "vae" / "config.json", **facts)
    with pytest.raises(ConfinerError, match=r"VAE.*not honoured"):
        load_decoder("spatial", spec(model), CPU, torch.float32, POLICIES["high"], CACHE)


@pytest.mark.parametrize(
    "facts",
    [
        {"hidden_act": "relu"},
        {"model_type": "clip"},
        {"quantization_config": {"bits": 4}},
        {"is_decoder": True},
        {"a_new_field": "of a new version"},
    ],
)
def test_a_text_encoder_that_ours_is_not_stops_the_run(facts, model):
    stating(model / "text_encoder" / "config.json", **facts)
    refused(f"text_encoder states {next(iter(facts))}=", spec(model), "experts.spatial.shared=")


def test_what_an_old_version_wrote_beside_a_text_encoder_changes_nothing(model):
    before = load("stable_diffusion", spec(model)).text("a heart").states
    old = {"max_length": 20, "top_k": 50, "id2label": {"0": "LABEL_0"}, "pruned_heads": {}}
    stating(model / "text_encoder" / "config.json", **old, use_bfloat16=False)
    assert torch.equal(load("stable_diffusion", spec(model)).text("a heart").states, before)

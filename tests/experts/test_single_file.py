"""Stable Diffusion in one file, in the original layout: the same networks as in its folder."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import published
from support.family_experts import CACHE, CPU, T, load, sample, spec_of
from support.original_layout import original_unet, original_vae

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.loading import load_decoder
from confiner_cli.experts.offload import POLICIES


@pytest.fixture
def folder(tmp_path):
    """A pipeline folder in full precision."""
    published.stable_diffusion(tmp_path / "sd", fp16=False)
    return tmp_path / "sd"


@pytest.fixture
def file(folder, tmp_path):
    """The same in one file; the tokenizer, which no file has, and the configs stay in `rest`."""
    name = "diffusion_pytorch_model.safetensors"
    tensors = {
        original_unet(key): value for key, value in load_file(folder / "unet" / name).items()
    }
    for key, value in load_file(folder / "vae" / name).items():
        square = "attentions" in key and value.dim() == 2
        tensors[original_vae(key)] = value[..., None, None] if square else value
    for key, value in load_file(folder / "text_encoder" / "model.safetensors").items():
        tensors[f"cond_stage_model.transformer.{key}"] = value
    path = tmp_path / "one.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    rest = shutil.copytree(
        folder, tmp_path / "rest", ignore=shutil.ignore_patterns("*.safetensors", "*.bin")
    )
    for part in ("unet", "vae", "text_encoder"):  # configs only: what is in them is in the file
        assert [one.name for one in (rest / part).iterdir()] == ["config.json"]
    return path


def spec(model, shared):
    stated = spec_of("stable_diffusion", model.parent)
    stated = replace(stated, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    return replace(stated, model=str(model), shared=str(shared))


def test_an_expert_from_one_file_answers_as_that_of_the_folder(folder, file, tmp_path):
    one = load("stable_diffusion", spec(file, tmp_path / "rest"))
    many = load("stable_diffusion", spec(folder, folder))
    assert torch.equal(one.text("a heart").states, many.text("a heart").states)
    x_t = sample(2)
    assert torch.equal(
        one.condition("a heart")(x_t, T).noise, many.condition("a heart")(x_t, T).noise
    )


def test_the_vae_of_one_file_decodes_as_that_of_the_folder(folder, file, tmp_path):
    one, many = (
        load_decoder("spatial", spec(model, shared), CPU, torch.float32, POLICIES["high"], CACHE)
        for model, shared in ((file, tmp_path / "rest"), (folder, folder))
    )
    assert all(torch.equal(a, b) for a, b in zip(one(sample(2)), many(sample(2)), strict=True))


def test_a_file_cut_short_is_named(folder, file, tmp_path):
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ConfinerError, match=r"one\.safetensors"):
        load("stable_diffusion", spec(file, tmp_path / "rest"))


def test_a_page_saved_as_a_file_is_named_as_one(folder, file, tmp_path):
    file.write_bytes(b"<!doctype html><html><body>please log in</body></html>")
    with pytest.raises(ConfinerError, match="web page"):
        load("stable_diffusion", spec(file, tmp_path / "rest"))

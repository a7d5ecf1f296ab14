"""Stable Diffusion in one file, in the original layout: the same networks as in its folder."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import published
from support.family_experts import CACHE, CPU, T, load, sample, spec_of

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.loading import load_decoder
from confiner_cli.experts.offload import POLICIES

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTER = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    # Two levels, one layer each, text in the first: what published.UNET_2D has.
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.attentions.0": "input_blocks.1.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.attentions.0": "output_blocks.2.1",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "up_blocks.1.attentions.1": "output_blocks.3.1",
}


def original_unet(key: str) -> str:
    """The name of a UNet's tensor in the original layout."""
    outer = next(name for name in OUTER if key.startswith(f"{name}."))
    inner = key.removeprefix(f"{outer}.")
    first, _, rest = inner.partition(".")
    if "resnets" in outer and first in RESNET:
        inner = f"{RESNET[first]}.{rest}"
    return f"model.diffusion_model.{OUTER[outer]}.{inner}"


def original_vae(key: str) -> str:
    """The name of a VAE's tensor in the original layout, from its published name."""
    levels = len(published.VAE["block_out_channels"])
    key = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", key)
    key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(
        r"up_blocks\.(\d+)\.resnets\.(\d+)",
        lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}",
        key,
    )
    key = re.sub(
        r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", key
    )
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    for ours, theirs in (
        ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
        ("mid_block.attentions.0.query", "mid.attn_1.q"),
        ("mid_block.attentions.0.key", "mid.attn_1.k"),
        ("mid_block.attentions.0.value", "mid.attn_1.v"),
        ("mid_block.attentions.0.proj_attn", "mid.attn_1.proj_out"),
        ("conv_shortcut", "nin_shortcut"),
        ("conv_norm_out", "norm_out"),
    ):
        key = key.replace(ours, theirs)
    return f"first_stage_model.{key}"


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
        load_decoder(spec(model, shared), CPU, torch.float32, POLICIES["high"], CACHE)
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

"""Clip skip: diffusers' states for a prompt, and for a negative prompt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline
from support.family_experts import CPU, WITH_CLIP, T, distance, load, sample, spec_of
from transformers.models.clip.modeling_clip import CLIPTextModel

from confiner_cli.config.hydra import settings_with
from confiner_cli.config.resolve import resolve
from confiner_cli.errors import ConfinerError


@pytest.mark.parametrize("clip_skip", [0, 1, 2])
def test_a_prompt_skips_the_layers_that_it_skips_in_diffusers(
    clip_skip, exported_experts, monkeypatch
):
    # diffusers looks for the norm where transformers before 5 had it.
    monkeypatch.setattr(CLIPTextModel, "text_model", property(lambda self: self), raising=False)
    pipeline = StableDiffusionPipeline.from_pretrained(
        exported_experts / "spatial", local_files_only=True
    )
    with torch.no_grad():
        theirs = pipeline.encode_prompt(
            "a red heart", CPU, 1, True, negative_prompt="a star", clip_skip=clip_skip
        )
    spec = replace(settings_with([]).experts.spatial, clip_skip=clip_skip)
    text = load("stable_diffusion", spec).text
    assert torch.allclose(text("a red heart").states, theirs[0], atol=1e-5)
    assert torch.allclose(text.negative("a star").states, theirs[1], atol=1e-5)


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=[] if name == "lavie" else [pytest.mark.thorough])
        for name in WITH_CLIP
    ],
)
def test_every_familys_answer_depends_on_it(family, tiny_networks):
    plain = spec_of(family, tiny_networks)
    experts = [load(family, replace(plain, clip_skip=skip)) for skip in (0, 1)]
    one, other = (expert.condition("a heart")(sample(), T) for expert in experts)
    assert distance(one, other) > 1e-3


def test_more_layers_than_there_are_cannot_be_skipped(tiny_networks):
    with pytest.raises(ConfinerError, match=r"clip_skip=2 is more than .* layers: 1"):
        load("stable_diffusion", spec_of("stable_diffusion", tiny_networks, clip_skip=2))
    with pytest.raises(ConfinerError, match=r"experts\.spatial\.clip_skip"):
        resolve(settings_with(["prompt=x", "experts.spatial.clip_skip=-1"]))

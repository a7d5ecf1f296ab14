"""LoRAs on every role: diffusers' answer with them, a clear word where one does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from support.family_experts import CPU, OF_UNETS, ROLE_OF, T, distance, load, sample, spec_of

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.families import family_named
from confiner_cli.experts.loading import components_of
from confiner_cli.experts.spec import LoraSpec

TARGETS = ["to_q", "to_v"]


def unet_of(family, networks):
    spec = spec_of(family, networks)
    return family_named(family).load(components_of(ROLE_OF[family], spec, CPU, torch.float32))


def write_lora(path, family, networks, seed=0):
    """A LoRA with random weights for the family's small network, in diffusers' own format."""
    unet = unet_of(family, networks)
    torch.manual_seed(seed)
    inject_adapter_in_model(
        LoraConfig(r=2, lora_alpha=4, target_modules=TARGETS, init_lora_weights=False), unet
    )
    tensors = {
        f"unet.{key}": value.contiguous() for key, value in get_peft_model_state_dict(unet).items()
    }
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=[] if name == "modelscope" else [pytest.mark.thorough])
        for name in OF_UNETS
    ],
)
def test_a_lora_changes_every_familys_answer_in_proportion_to_its_scale(
    family, tiny_networks, tmp_path
):
    path = write_lora(tmp_path / "style.safetensors", family, tiny_networks)
    plain = spec_of(family, tiny_networks)

    def answer(*loras):
        spec = replace(plain, loras=[LoraSpec(str(path), scale) for scale in loras])
        return load(family, spec).condition("a heart")(sample(), T)

    without, none, half, whole = answer(), answer(0.0), answer(0.5), answer(1.0)
    assert distance(without, none) < 1e-5
    assert 1e-3 < distance(without, half) < distance(without, whole)
    assert distance(answer(0.5, 0.5), whole) < 1e-4


def test_with_a_lora_a_network_answers_as_diffusers_has_it_answer(tiny_networks, tmp_path):
    path = write_lora(tmp_path / "style.safetensors", "stable_diffusion", tiny_networks)
    spec = spec_of("stable_diffusion", tiny_networks, loras=[LoraSpec(str(path), 0.7)])
    expert = load("stable_diffusion", spec)
    unet = unet_of("stable_diffusion", tiny_networks)
    StableDiffusionPipeline.load_lora_into_unet(
        *StableDiffusionPipeline.lora_state_dict(load_file(path)), unet=unet, adapter_name="style"
    )
    unet.set_adapters(["style"], [0.7])
    x_t, t, text = sample(1), torch.tensor(float(T)), expert.text("a heart")
    with torch.inference_mode():
        theirs = unet(x_t[:, :, 0], T, text.states).sample
        assert torch.allclose(expert.network(x_t, t, text)[:, :, 0], theirs, atol=1e-5)


def test_a_lora_for_the_text_encoder_changes_the_text(tiny_networks, tmp_path):
    plain = spec_of("stable_diffusion", tiny_networks)
    path = write_lora(tmp_path / "style.safetensors", "stable_diffusion", tiny_networks)
    encoder = load("stable_diffusion", plain).text.encoder()
    keys = [
        f"{name}.{kind}"
        for name, _ in encoder.named_modules()
        if name.endswith("q_proj")
        for kind in ("A", "B")
    ]
    assert keys
    tensors, generator = load_file(path), torch.Generator().manual_seed(1)
    for key in keys:
        name, kind = key.rsplit(".", 1)
        shape = (2, 16) if kind == "A" else (16, 2)
        tensors[f"text_encoder.{name}.lora_{kind}.weight"] = torch.randn(shape, generator=generator)
    save_file(tensors, path)
    adapted = load("stable_diffusion", replace(plain, loras=[LoraSpec(str(path))]))
    assert not torch.allclose(
        adapted.text("a heart").states,
        load("stable_diffusion", plain).text("a heart").states,
        atol=1e-3,
    )


@pytest.mark.parametrize(
    ("made_for", "given_to"),
    [("modelscope", "stable_diffusion"), ("lavie", "stable_diffusion"), ("animatediff", "lavie")],
)
def test_a_lora_for_another_network_is_refused_by_name(made_for, given_to, tiny_networks, tmp_path):
    path = write_lora(tmp_path / "style.safetensors", made_for, tiny_networks)
    spec = spec_of(given_to, tiny_networks, loras=[LoraSpec(str(path))])
    with pytest.raises(
        ConfinerError, match=r"the LoRA .*style\.safetensors does not fit"
    ) as caught:
        load(given_to, spec).condition("a heart")(sample(), T)
    assert caught.value.exit_code == 2


def test_a_file_that_is_no_lora_is_refused_by_name(tiny_networks, tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    (tmp_path / "page.safetensors").write_bytes(b"<!doctype html>")
    for name in ("other", "page"):
        loras = [LoraSpec(str(tmp_path / f"{name}.safetensors"))]
        with pytest.raises(ConfinerError, match=rf"{name}\.safetensors"):
            load(
                "stable_diffusion", spec_of("stable_diffusion", tiny_networks, loras=loras)
            ).condition("x")(sample(), T)

"""What is named as a model brings the role's network: nothing else stands in for it unseen."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import lora_files, original_layout, published
from support.family_experts import CACHE, ROLE_OF, T, load, sample, spec_of

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.identity import weights_of

NAME = "diffusion_pytorch_model.safetensors"
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.fixture
def shared(tmp_path):
    """A whole pipeline, as somebody else's: what must not be taken for the model."""
    published.stable_diffusion(tmp_path / "shared", fp16=False)
    return tmp_path / "shared"


@pytest.fixture
def model(shared, tmp_path):
    """A pipeline of the same shapes whose UNet has other weights."""
    folder = shutil.copytree(shared, tmp_path / "model")
    tensors = load_file(folder / "unet" / NAME)
    save_file(
        {key: value + 0.01 for key, value in tensors.items()},
        folder / "unet" / NAME,
        metadata={"format": "pt"},
    )
    return folder


def spec(model, shared):
    stated = replace(spec_of("stable_diffusion", shared.parent), **SD)
    return replace(stated, model=str(model), shared=str(shared))


def answer(model, shared):
    expert = load("stable_diffusion", spec(model, shared), cache=CACHE)
    return expert.condition("a heart")(sample(2), T).noise


def original(model):
    return original_layout.unet(load_file(model / "unet" / NAME))


def bare(model):
    begin = "model.diffusion_model."
    return {key.removeprefix(begin): value for key, value in original(model).items()}


def as_folder_without_an_index(model, path):
    shutil.copytree(model / "unet", path)
    return path


def as_unet_in_it(model, path):
    return model / "unet"


def as_file(model, path):
    save_file(original(model), path := path.with_suffix(".safetensors"))
    return path


def as_bare_file(model, path):
    save_file(bare(model), path := path.with_suffix(".safetensors"))
    return path


def as_bare_file_of_diffusers(model, path):
    return shutil.copy(model / "unet" / NAME, path.with_suffix(".safetensors"))


def as_pickle(model, path):
    content = {"state_dict": original(model), "global_step": 7}
    torch.save(content, path := path.with_suffix(".ckpt"))
    return path


FORMS = (
    as_folder_without_an_index,
    as_unet_in_it,
    as_file,
    as_bare_file,
    as_bare_file_of_diffusers,
    as_pickle,
)


@pytest.mark.parametrize("form", FORMS)
def test_a_model_is_the_network_that_answers_in_whatever_form_it_is(form, model, shared, tmp_path):
    place = form(model, tmp_path / "one")
    wanted, others = answer(model, shared), answer(shared, shared)
    assert not torch.allclose(wanted, others, atol=1e-3)
    assert torch.equal(answer(place, shared), wanted)


def lora(model, folder):
    return lora_files.write(
        folder / "style.safetensors", {"unet.x.lora_A.weight": torch.ones(2, 2)}
    )


def vae(model, folder):
    save_file(load_file(model / "vae" / NAME), folder / "vae.safetensors")
    return folder / "vae.safetensors"


def text_encoder(model, folder):
    tensors = {"text_model.final_layer_norm.weight": torch.ones(2)}
    return lora_files.write(folder / "text.safetensors", tensors)


def empty_folder(model, folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def folder_of_a_vae(model, folder):
    return model / "vae"


def folder_without_a_unet(model, folder):
    shutil.rmtree(model / "unet")
    return model


def controlnet(model, folder):
    tensors = {"control_model.input_blocks.0.0.weight": torch.ones(2)}
    return lora_files.write(folder / "control.safetensors", tensors)


OTHERS = {
    lora: "a LoRA",
    vae: "a VAE",
    text_encoder: "a text encoder",
    controlnet: "a ControlNet",
    empty_folder: "there is no unet/",
    folder_of_a_vae: "there is no unet/",
    folder_without_a_unet: "there is no unet/",
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("family", ["stable_diffusion", "modelscope", "animatediff"])
def test_what_is_no_model_is_refused_and_the_shared_network_does_not_stand_in(
    other, family, model, shared, tmp_path
):
    place = other(model, tmp_path)
    named = replace(spec(place, shared), family=family)
    with pytest.raises(ConfinerError, match=OTHERS[other]) as caught:
        load(family, named)
    message = str(caught.value)
    assert f"the {ROLE_OF[family]} expert has no unet" in message
    assert str(place) in message
    assert len(caught.value.lines().splitlines()) == 2


def test_a_checkpoint_of_lavie_is_not_taken_from_the_shared_place(tiny_networks, tmp_path):
    named = replace(spec_of("lavie", tiny_networks), model=str(tmp_path))
    shared = shutil.copytree(tiny_networks / "shared", tmp_path / "shared")
    shutil.copy(tiny_networks / "lavie" / "lavie_base.pt", shared)
    with pytest.raises(ConfinerError, match="has no checkpoint"):
        load("lavie", replace(named, shared=str(shared)))


def test_a_tensor_that_a_single_file_lacks_is_named(model, shared, tmp_path):
    path = as_file(model, tmp_path / "one")
    tensors = load_file(path)
    del tensors["model.diffusion_model.time_embed.2.bias"]
    save_file(tensors, path)
    with pytest.raises(ConfinerError, match=r"lacks 1 tensors \(time_embedding\.linear_2\.bias"):
        answer(path, shared)


def test_a_tensor_that_nothing_takes_of_a_single_file_is_named(model, shared, tmp_path):
    path = as_file(model, tmp_path / "one")
    save_file({**load_file(path), "model.diffusion_model.label_emb.0.0.bias": torch.ones(3)}, path)
    with pytest.raises(ConfinerError, match=r"1 unknown tensors, .*label_emb"):
        answer(path, shared)


def test_pickled_weights_in_a_folder_say_how_they_are_taken(model, shared):
    tensors = load_file(model / "unet" / NAME)
    torch.save(tensors, model / "unet" / "diffusion_pytorch_model.bin")
    (model / "unet" / NAME).unlink()
    with pytest.raises(ConfinerError, match="pickled") as caught:
        answer(model, shared)
    assert "experts.spatial.pickles=true" in caught.value.hint
    taken = load("stable_diffusion", replace(spec(model, shared), pickles=True))
    assert taken.condition("a heart")(sample(2), T).noise.isfinite().all()


def test_every_part_is_known_by_its_file_and_hash(model, shared, tmp_path):
    named = spec(model / "unet", shared)
    assert "vae" not in weights_of("spatial", named)
    found = weights_of("spatial", replace(named, vae=True))
    assert list(found) == ["unet", "text_encoder", "tokenizer", "vae"]
    assert all(file.startswith(str(model)) for file in found["unet"])
    others = [file for part in ("text_encoder", "tokenizer", "vae") for file in found[part]]
    assert all(file.startswith(str(shared)) for file in others)
    assert all(len(digest) == 64 for files in found.values() for digest in files.values())
    assert json.dumps(found)

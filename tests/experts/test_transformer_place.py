"""A network that is called `transformer` is found in pipeline folders and in its own alone."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from safetensors.torch import load_file, save_file
from support import tiny_networks as tiny

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.components import Components

NAME = "diffusion_pytorch_model.safetensors"
PAIR = ("transformer", "transformer_2")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """A folder as Wan 2.2's: two networks of one architecture, and a VAE."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pipeline")
    for name in PAIR:
        tiny.wan_transformer().save_pretrained(folder / name)
    tiny.vae().save_pretrained(folder / "vae")
    tiny.unet_2d().save_pretrained(folder / "another" / "unet")
    return folder


def components(place, *shared):
    return Components("temporal", (place, *shared), CPU, torch.float32)


def is_of(module, folder):
    tensors = load_file(folder / NAME)
    own = module.state_dict()
    return own.keys() == tensors.keys() and all(torch.equal(own[key], tensors[key]) for key in own)


@pytest.mark.parametrize("name", PAIR)
def test_each_of_a_pair_is_found_by_its_name(name, pipeline):
    found = components(pipeline)
    assert found.place(name) == pipeline / name
    assert found.sources(name) == (pipeline / name / NAME, pipeline / name / "config.json")
    module = found.model(name, WanTransformer3DModel)
    assert [is_of(module, pipeline / each) for each in PAIR] == [name == each for each in PAIR]


@pytest.mark.parametrize("own", PAIR)
def test_the_networks_own_folder_is_its_place_whatever_it_is_called(own, pipeline):
    found = components(pipeline / own)
    assert {found.place(name) for name in PAIR} == {pipeline / own}
    assert is_of(found.model("transformer", WanTransformer3DModel), pipeline / own)


def one_file(pipeline, folder):
    return shutil.copy(pipeline / "transformer" / NAME, folder / "one.safetensors")


def text_encoder(pipeline, folder):
    tensors = {
        "shared.weight": torch.ones(2),
        "encoder.block.0.layer.0.SelfAttention.k.weight": torch.ones(2),
    }
    save_file(tensors, folder / "text.safetensors")
    return folder / "text.safetensors"


def folder_of_a_vae(pipeline, folder):
    return pipeline / "vae"


def folder_of_a_unet(pipeline, folder):
    return pipeline / "another" / "unet"


def pipeline_of_a_unet(pipeline, folder):
    return pipeline / "another"


def one_of_a_pair(pipeline, folder):
    shutil.copytree(pipeline / "transformer_2", folder / "half" / "transformer_2")
    return folder / "half"


def folder_of_no_class(pipeline, folder):
    (folder / "config.json").write_text(json.dumps(["WanTransformer3DModel"]), encoding="utf-8")
    return folder


OTHERS = {
    one_file: "holds a transformer, and it is read from a folder only",
    text_encoder: r"holds a text encoder \(T5\)",
    folder_of_a_vae: "there is no transformer/",
    folder_of_a_unet: "there is no transformer/",
    pipeline_of_a_unet: "there is no transformer/",
    one_of_a_pair: "there is no transformer/",
    folder_of_no_class: "there is no transformer/",
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_transformer_is_refused_and_the_shared_place_does_not_stand_in(
    other, pipeline, tmp_path
):
    place = other(pipeline, tmp_path)
    with pytest.raises(ConfinerError, match=OTHERS[other]) as caught:
        components(place, pipeline).place("transformer")
    assert "the temporal expert has no transformer" in str(caught.value)
    assert "transformer/ itself; experts.temporal.shared=" in caught.value.hint


def test_a_transformer_is_no_unet(pipeline):
    with pytest.raises(ConfinerError, match="there is no unet/"):
        components(pipeline / "transformer").place("unet")

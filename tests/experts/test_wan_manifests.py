"""The full-size Wan networks have the published keys and shapes. Nothing takes memory.

What builds them is diffusers' WanTransformer3DModel and AutoencoderKLWan and transformers'
UMT5EncoderModel, from the configs that come with the package. `data/manifests/` says what they have
to have, a line for each tensor: the key, in which {30} stands for 0 to 29, then the shape.

That this is what was published, others are witnesses for, who read the files: DiffSynth-Studio
knows a file by a digest of its keys and shapes (`diffsynth/configs/model_configs.py`). Its digests
are of Alibaba's own release, whose names the manifests are brought to (`wan_original_names`), and
for two of the networks of files in diffusers' layout, too. For Wan 2.2's pair there is no digest of
its own: diffusers' converter puts both networks into the class and config of Wan 2.1's 14B, and
takes no key more or less.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from support.manifests import published
from support.wan_original_names import original_text, original_transformer, original_vae
from torch import nn
from transformers.models.umt5.configuration_umt5 import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

from confiner_cli.experts.components import architecture

PARAMETERS = {
    "wan21_1_3b_transformer": 1_418_996_800,
    "wan21_14b_transformer": 14_288_491_584,
    "wan21_vae": 126_892_531,
    "umt5_xxl_encoder": 5_680_910_336,
}
RELEASED = {
    "wan21_1_3b_transformer": (original_transformer, "9269f8db9040a9d860eaca435be61814"),
    "wan21_14b_transformer": (original_transformer, "aafcfd9672c3a2456dc46e1cb6e52c70"),
    "wan21_vae": (original_vae, "ccc42284ea13e1ad04693284c7a09be6"),
    "umt5_xxl_encoder": (original_text, "9c8818c2cbea55eca56c7b447df170da"),
}
"""The names in Wan-AI/Wan2.1-T2V-1.3B and -14B, and DiffSynth-Studio's digests of those files."""
IN_DIFFUSERS_LAYOUT = {
    "wan21_14b_transformer": "cb104773c6c2cb6df4f9529ad5c60d0b",
    "wan21_vae": "ed4ea5824d55ec3107b09815e318123a",  # of Qwen/Qwen-Image's: the same tensors
}
FASTWAN_BYTES = 29_212_131_136
"""Of a download of FastVideo/FastWan2.1-T2V-1.3B-Diffusers, revision 25e7ed7: all in 32 bits."""
TOKENIZER_BYTES = 25e6
"""More than what is no weight in it takes."""
TIED = "encoder.embed_tokens.weight"
"""The class's second name for `shared.weight`, which the files do not have (transformers#43992)."""


def config(name: str, part: str) -> dict:
    return json.loads((architecture(name, part) / "config.json").read_text(encoding="utf-8"))


def transformer(name: str) -> nn.Module:
    return WanTransformer3DModel.from_config(config(name, "transformer"))


def vae() -> nn.Module:
    return AutoencoderKLWan.from_config(config("wan21_1_3b", "vae"))


def text_encoder() -> nn.Module:
    return UMT5EncoderModel(UMT5Config(**config("wan21_1_3b", "text_encoder")))


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "wan21_1_3b_transformer": lambda: transformer("wan21_1_3b"),
    "wan21_14b_transformer": lambda: transformer("wan21_14b"),
    "wan21_vae": vae,
    "umt5_xxl_encoder": text_encoder,
}


def digest(shapes: dict[str, list[int]]) -> str:
    """DiffSynth-Studio's: of all keys, alone and with their shapes."""
    words = {f"{key}:{'_'.join(map(str, shape))}" for key, shape in shapes.items()} | set(shapes)
    return hashlib.md5(",".join(sorted(words)).encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("name", BUILDERS)
def test_a_full_size_network_has_the_published_keys_and_shapes_and_parameters(name):
    with torch.device("meta"):
        built = BUILDERS[name]()
    shapes = {key: list(value.shape) for key, value in built.state_dict().items() if key != TIED}
    assert shapes == published(name)
    assert sum(parameter.numel() for parameter in built.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", RELEASED)
def test_a_manifest_under_the_releases_names_is_what_others_read_in_its_file(name):
    renamed, wanted = RELEASED[name]
    assert digest({renamed(key): shape for key, shape in published(name).items()}) == wanted


@pytest.mark.parametrize("name", IN_DIFFUSERS_LAYOUT)
def test_a_manifest_is_what_others_read_in_a_file_of_diffusers_layout(name):
    assert digest(published(name)) == IN_DIFFUSERS_LAYOUT[name]


def test_fastwan_has_gates_beside_wans_tensors_and_its_download_has_their_size():
    """FastVideo's WanTransformerBlock_VSA has `to_gate_compress`, a linear layer over the width.

    The published file has it under `blocks.N.to_gate_compress` (vllm-omni#7656).
    """
    wan, gates = published("wan21_1_3b_transformer"), published("fastwan21_1_3b_gates")
    assert len(gates) == 2 * 30
    assert not gates.keys() & wan.keys()
    numbers = sum(torch.Size(shape).numel() for shape in gates.values()) + sum(
        PARAMETERS[name] for name in PARAMETERS if name != "wan21_14b_transformer"
    )
    assert 0 < FASTWAN_BYTES - 4 * numbers < TOKENIZER_BYTES


def test_wans_networks_have_one_vae_and_one_text_encoder_that_fits_them():
    for part in ("vae", "text_encoder"):
        assert config("wan21_1_3b", part) == config("wan21_14b", part)
    for name in ("wan21_1_3b", "wan21_14b"):
        stated = config(name, "transformer")
        assert stated["text_dim"] == config(name, "text_encoder")["d_model"]
        assert stated["in_channels"] == stated["out_channels"] == config(name, "vae")["z_dim"]

"""The full-size networks that we build have the published keys and shapes. Nothing takes memory.

`data/manifests/` lists the published tensors, a line each: the key, then the shape.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_motion_model import MotionAdapter
from support import manifests
from torch import nn

import confiner_cli
from confiner_cli.experts import families
from confiner_cli.experts.networks.clip_text import CLIPTextModel

LAVIE = Path(__file__).parents[1] / "data" / "lavie" / "lavie_base_manifest.json"
ARCHITECTURES = Path(confiner_cli.__file__).parent / "experts" / "architectures"
ADAPTED = {"unet": "sd15_unet", "motion_adapter": "animatediff_motion_adapter_mid"}
MANIFESTS = {
    "stable_diffusion": ("sd15", {"unet": "sd15_unet"}),
    "animatediff": ("sd15", ADAPTED),
    "modelscope": ("modelscope", {"unet": "modelscope_unet"}),
    "lavie": ("lavie", {"unet": "lavie_base"}),
    "wan": ("wan21_1_3b", {"transformer": "wan21_1_3b_transformer"}),
}
"""By family: the architecture, and the lists of what its components have."""
PARAMETERS = {
    "stable_diffusion": 859_520_964,
    "animatediff": 1_312_730_244,
    "modelscope": 1_411_233_860,
    "lavie": 909_124_116,
    "wan": 1_418_996_800,
}
LAVIE_FREQUENCIES = 16
"""The published model counts its one shared rotary table as a parameter; ours is a buffer."""


def config(architecture: str, part: str) -> dict:
    """A part's own config, or Stable Diffusion 1.5's where it has none."""
    own = ARCHITECTURES / architecture / part / "config.json"
    path = own if own.is_file() else ARCHITECTURES / "sd15" / part / "config.json"
    return json.loads(path.read_text(encoding="utf-8"))


def network(family: str) -> nn.Module:
    architecture, parts = MANIFESTS[family]
    configs = {part: config(architecture, part) for part in parts}
    with torch.device("meta"):
        return importlib.import_module(f"{families.__name__}.{family}").build(configs)


def published(name: str) -> dict[str, list[int]]:
    if name == "lavie_base":
        entries = json.loads(LAVIE.read_text(encoding="utf-8"))
        return {key: entry["shape"] for key, entry in entries.items()}
    return manifests.published(name)


def shapes(module: nn.Module) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in module.state_dict().items()}


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("family", MANIFESTS)
def test_a_full_size_network_has_the_published_keys_and_shapes_and_parameters(family):
    built, wanted = network(family), {}
    for name in MANIFESTS[family][1].values():
        part = published(name)
        assert part and not part.keys() & wanted.keys()
        wanted |= part
    assert shapes(built) == wanted
    assert parameters(built) + (LAVIE_FREQUENCIES if family == "lavie" else 0) == PARAMETERS[family]


def test_every_family_is_held_against_a_manifest():
    assert set(MANIFESTS) == set(families.FAMILIES)


@pytest.mark.parametrize(("name", "mid"), [("mid", True), ("nomid", False)])
def test_a_motion_adapter_has_the_published_keys_and_shapes_with_and_without_a_middle(name, mid):
    wanted = published(f"animatediff_motion_adapter_{name}")
    (length,) = {shape[1] for key, shape in wanted.items() if key.endswith("pos_embed.pe")}
    settings = {
        **config("sd15", "motion_adapter"),
        "use_motion_mid_block": mid,
        "motion_max_seq_length": length,
    }
    with torch.device("meta"):
        adapter = MotionAdapter.from_config(settings)
    assert shapes(adapter) == wanted
    assert any(key.startswith("mid_block.") for key in wanted) == mid


def test_the_architectures_adapter_is_diffusers_own_default():
    with torch.device("meta"):
        ours, default = MotionAdapter.from_config(config("sd15", "motion_adapter")), MotionAdapter()
    assert shapes(ours) == shapes(default)


def test_the_vae_is_stable_diffusions_in_size():
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(config("sd15", "vae"))
    assert parameters(vae) == 83_653_863
    assert 2 ** (len(vae.config.block_out_channels) - 1) == 8


@pytest.mark.parametrize(
    ("architecture", "wanted"), [("sd15", 123_060_480), ("modelscope", 340_387_840)]
)
def test_a_text_encoder_is_its_unets_in_size_and_width(architecture, wanted):
    """CLIP ViT-L for Stable Diffusion, OpenCLIP ViT-H without its last layer for ModelScope."""
    settings = config(architecture, "text_encoder")
    with torch.device("meta"):
        encoder = CLIPTextModel.from_config(settings)
    assert parameters(encoder) == wanted
    assert settings["hidden_size"] == config(architecture, "unet")["cross_attention_dim"]
    assert settings["max_position_embeddings"] == 77

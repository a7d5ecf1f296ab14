"""AnimateDiff's own files as motion adapters: all of their spellings are one network."""

from __future__ import annotations

import re

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_animatediff_checkpoint_to_diffusers
from diffusers.models.unets.unet_motion_model import MotionAdapter
from safetensors.torch import load_file, save_file
from support.family_experts import T, load, sample, spec_of

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.offload import NetworkCache

OWN_NAMES = (
    (r"(motion_modules\.\d+)\.", r"\1.temporal_transformer."),
    (r"\.norm1\.", ".norms.0."),
    (r"\.norm2\.", ".norms.1."),
    (r"\.norm3\.", ".ff_norm."),
    (r"\.attn1\.", ".attention_blocks.0."),
    (r"\.attn2\.", ".attention_blocks.1."),
)
"""From diffusers' names to AnimateDiff's."""


def in_own_names(tensors):
    """A motion adapter's tensors as AnimateDiff writes them: positions once for each attention."""
    own = {}
    for name, value in tensors.items():
        for diffusers, animatediff in OWN_NAMES:
            name = re.sub(diffusers, animatediff, name)
        if name.endswith("pos_embed.pe"):
            for number in (0, 1):
                place = f"attention_blocks.{number}.pos_encoder.pe"
                own[name.replace("pos_embed.pe", place)] = value.clone()
        else:
            own[name] = value
    return own


@pytest.fixture
def adapter(tiny_networks):
    """The tensors of the small control expert's adapter, in diffusers' names."""
    return load_file(
        tiny_networks / "control" / "motion_adapter" / "diffusion_pytorch_model.safetensors"
    )


@pytest.fixture
def unet(tiny_networks):
    """The tensors of its base."""
    return load_file(tiny_networks / "control" / "unet" / "diffusion_pytorch_model.safetensors")


def answer(tiny_networks, path=None, num_frames=3):
    changes = {} if path is None else {"motion_adapter": str(path)}
    expert = load("animatediff", spec_of("animatediff", tiny_networks, **changes))
    return expert.condition("a heart")(sample(num_frames), T).noise


def prefixed(tensors, prefix):
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def without_positions(tensors):
    return {name: value for name, value in tensors.items() if "pos_encoder" not in name}


WRAPPED = {
    "bare": lambda own, unet: own,
    "state_dict": lambda own, unet: {"state_dict": own, "epoch": 3, "global_step": 7},
    "config": lambda own, unet: {**own, "animatediff_config": {"use_motion_module": True}},
    "module": lambda own, unet: {"state_dict": prefixed(own, "module.")},
    "motion_modules": lambda own, unet: prefixed(own, "motion_modules."),
    "training": lambda own, unet: {"state_dict": prefixed({**unet, **own}, "module.")},
    "no_positions": lambda own, unet: without_positions(own),
}


@pytest.mark.parametrize(
    "wrapping",
    [
        pytest.param(
            name, marks=[] if name in ("training", "no_positions") else [pytest.mark.thorough]
        )
        for name in WRAPPED
    ],
)
def test_animatediffs_own_file_is_the_adapter_in_diffusers_names(
    wrapping, adapter, unet, tiny_networks, tmp_path
):
    content = WRAPPED[wrapping](in_own_names(adapter), unet)
    torch.save(content, tmp_path / "mm_sd_v15_v2.ckpt")
    found = answer(tiny_networks, tmp_path / "mm_sd_v15_v2.ckpt")
    assert torch.equal(found, answer(tiny_networks))


def test_the_inverse_that_these_tests_use_is_diffusers_own(adapter):
    back = convert_animatediff_checkpoint_to_diffusers(in_own_names(adapter))
    assert back.keys() == {name for name in adapter if not name.endswith("pos_embed.pe")}


@pytest.mark.parametrize("spelling", [in_own_names, dict])
def test_safetensors_in_either_spelling_are_the_same_adapter(
    spelling, adapter, tiny_networks, tmp_path
):
    """AnimateDiff-Lightning is published in both."""
    path = tmp_path / "animatediff_lightning_4step_comfyui.safetensors"
    save_file(spelling(adapter), path)
    assert torch.equal(answer(tiny_networks, path), answer(tiny_networks))


def test_an_adapter_without_a_middle_is_one_without_a_middle(adapter, tiny_networks, tmp_path):
    """v1's and v3's."""
    ends = {name: value for name, value in adapter.items() if not name.startswith("mid_block")}
    torch.save(in_own_names(ends), tmp_path / "v3_sd15_mm.ckpt")
    found = answer(tiny_networks, tmp_path / "v3_sd15_mm.ckpt")
    assert found.isfinite().all() and not torch.equal(found, answer(tiny_networks))


def test_the_frame_positions_of_the_file_hold(adapter, tiny_networks, tmp_path):
    """Some adapters are made by stretching them."""
    stretched = {
        name: value * 0.5 if name.endswith("pos_embed.pe") else value
        for name, value in adapter.items()
    }
    torch.save(in_own_names(stretched), tmp_path / "mm-p_0.5.pth")
    found = answer(tiny_networks, tmp_path / "mm-p_0.5.pth")
    assert (found - answer(tiny_networks)).abs().max() > 1e-3


def test_more_frames_than_an_adapter_has_positions_for_are_refused(
    adapter, tiny_networks, tmp_path
):
    short = {
        name: value[:, :4] if name.endswith("pos_embed.pe") else value
        for name, value in adapter.items()
    }
    torch.save(in_own_names(short), tmp_path / "mm_sd_v14.ckpt")
    assert answer(tiny_networks, tmp_path / "mm_sd_v14.ckpt", num_frames=4).isfinite().all()
    with pytest.raises(ConfinerError, match="5 frames at once") as caught:
        answer(tiny_networks, tmp_path / "mm_sd_v14.ckpt", num_frames=5)
    assert caught.value.exit_code == 2 and "max_frames=4" in caught.value.hint


def of_another_level(own):
    """SDXL's has three levels where Stable Diffusion's has four."""
    deeper = {name.replace("blocks.1.", "blocks.2."): value for name, value in own.items()}
    return {**own, **deeper}


def with_two_kinds_of_positions(own):
    return {
        name: value + name.endswith("attention_blocks.1.pos_encoder.pe")
        for name, value in own.items()
    }


SOMETHING = torch.ones(2, 2)
HOTSHOT = {"down_blocks.0.temporal_attentions.0.norm.weight": SOMETHING}
MOTION_LORA = {
    "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0."
    "processor.to_q_lora.up.weight": SOMETHING
}
DOMAIN_LORA = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight": (
        SOMETHING
    )
}
THOROUGH = pytest.mark.thorough
REFUSED = [
    pytest.param(of_another_level, "made for another UNet, of 3 levels", id="levels"),
    pytest.param(
        lambda own: {name: value[..., :2] for name, value in own.items()}, "other shapes",
        id="width", marks=THOROUGH,
    ),
    pytest.param(lambda own: HOTSHOT, "HotshotXL", id="hotshot", marks=THOROUGH),
    pytest.param(lambda own: MOTION_LORA, "is a LoRA", id="motion lora"),
    pytest.param(
        lambda own: {"state_dict": DOMAIN_LORA}, "is a LoRA", id="domain lora", marks=THOROUGH
    ),
    pytest.param(
        lambda own: {**own, "conv_in.weight": torch.ones(8, 9, 3, 3)}, r"unknown .*conv_in",
        id="image condition",
    ),
    pytest.param(
        lambda own: {"conv_in.weight": torch.ones(8, 4, 3, 3)}, "no motion modules",
        id="no motion", marks=THOROUGH,
    ),
    pytest.param(
        with_two_kinds_of_positions, "two kinds of frame positions", id="positions", marks=THOROUGH
    ),
    pytest.param(
        lambda own: dict(list(own.items())[1:]), "it lacks 1 tensors", id="incomplete",
        marks=THOROUGH,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_a_file_that_is_no_adapter_for_this_base_is_named(
    change, message, adapter, tiny_networks, tmp_path
):
    torch.save(change(in_own_names(adapter)), tmp_path / "mm.ckpt")
    with pytest.raises(ConfinerError, match=message) as caught:
        answer(tiny_networks, tmp_path / "mm.ckpt")
    assert caught.value.exit_code == 2 and "mm.ckpt" in str(caught.value)


class Code:
    """Something that runs when a pickle is read in full."""

    def __reduce__(self):
        return print, ("run",)


def test_nothing_in_a_pickle_is_run(adapter, tiny_networks, tmp_path, capsys):
    torch.save({"state_dict": in_own_names(adapter), "other": Code()}, tmp_path / "mm.ckpt")
    with pytest.raises(ConfinerError, match=r"mm\.ckpt is refused"):
        answer(tiny_networks, tmp_path / "mm.ckpt")
    assert capsys.readouterr().out == ""


def test_the_number_of_heads_is_that_of_the_config_beside_the_file(
    adapter, tiny_networks, tmp_path
):
    """The tensors do not say it; without a config it is that of the model's own adapter."""
    place = tmp_path / "mm.safetensors"
    save_file(adapter, place)
    config = tiny_networks / "control" / "motion_adapter" / "config.json"
    assert torch.equal(answer(tiny_networks, place), answer(tiny_networks))
    text = config.read_text(encoding="utf-8")
    heads = '"motion_num_attention_heads": 2'
    assert heads in text
    (tmp_path / "config.json").write_text(text.replace(heads, heads.replace("2", "4")))
    moved = load(
        "animatediff",
        spec_of("animatediff", tiny_networks, motion_adapter=str(place)),
        cache=NetworkCache(),
    )
    found = moved.condition("a heart")(sample(3), T).noise
    assert not torch.equal(found, answer(tiny_networks))


def test_a_folder_of_an_adapter_for_another_base_is_named(tiny_networks, tmp_path):
    MotionAdapter(
        block_out_channels=(8, 16, 16), motion_layers_per_block=1, motion_norm_num_groups=4
    ).save_pretrained(tmp_path / "sdxl")
    with pytest.raises(ConfinerError, match="sdxl does not fit its UNet") as caught:
        answer(tiny_networks, tmp_path / "sdxl")
    assert caught.value.exit_code == 2

"""LaVie's UNet computes what the published one does, outside and inside.

That the full-size one has the published keys and shapes: `test_manifests.py`.
"""

import pytest
import torch
from support.lavie_reference import (
    ABOUT,
    CASES,
    TOLERANCE,
    TOLERANCE_OF_ANGLES,
    distance,
    error,
    exact_inputs,
    exact_unet,
    inputs,
    small_unet,
    tensors,
)

from confiner_cli.experts.networks.lavie import LaVieUNet
from confiner_cli.experts.networks.temporal_attention import Rotary, relative_buckets

BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"


@pytest.mark.parametrize("name", CASES)
def test_every_reference_case_is_reproduced(name):
    assert error(name) < TOLERANCE


def test_the_bound_is_more_than_the_rounding_of_the_reference_and_of_this_machine():
    """A float64 run of the case with the most rounding tells when a machine is to blame."""
    with torch.no_grad():
        exact = exact_unet("case5")(*exact_inputs("case5")).sample
        ours = small_unet("case5")(*inputs("case5")).sample
    of_the_reference = distance(tensors()["case5.output"], exact)
    assert of_the_reference + distance(ours, exact) < TOLERANCE


INSIDE = {
    "case2.time_proj": "time_proj", "case2.time_embedding": "time_embedding",
    "case2.conv_in": "conv_in",
    "case2.down_blocks.0.resnets.0": "down_blocks.0.resnets.0",
    "case2.down_blocks.0.attentions.0": "down_blocks.0.attentions.0",
    "case2.down_blocks.0.attentions.0.norm": "down_blocks.0.attentions.0.norm",
    "case2.down_blocks.0.attentions.0.proj_in": "down_blocks.0.attentions.0.proj_in",
    "case2.tb0.attn1_out": f"{BLOCK}.attn1", "case2.tb0.attn2_out": f"{BLOCK}.attn2",
    "case2.tb0.attn_temp_out.temporal_layout": f"{BLOCK}.attn_temp",
    "case2.tb0.ff_out": f"{BLOCK}.ff", "case2.tb0.after_ff": BLOCK,
    "case2.down_blocks.1.attentions.0.transformer_blocks.0.attn_temp_out.temporal_layout":
        "down_blocks.1.attentions.0.transformer_blocks.0.attn_temp",
    "case2.down_blocks.0.downsamplers.0": "down_blocks.0.downsamplers.0",
    "case2.down_blocks.0": "down_blocks.0.downsamplers.0",
    "case2.down_blocks.1": "down_blocks.1.downsamplers.0",
    "case2.down_blocks.2": "down_blocks.2.downsamplers.0",
    "case2.down_blocks.3": "down_blocks.3.resnets.1",
    "case2.mid_block": "mid_block.resnets.1", "case2.up_blocks.0": "up_blocks.0.upsamplers.0",
    "case2.up_blocks.0.upsamplers.0": "up_blocks.0.upsamplers.0",
    "case2.up_blocks.1": "up_blocks.1.upsamplers.0",
    "case2.up_blocks.2": "up_blocks.2.upsamplers.0",
    "case2.up_blocks.3": "up_blocks.3.attentions.2",
    "case2.conv_norm_out": "conv_norm_out",
}  # fmt: skip
ENTERING = {"case2.tb0.input": BLOCK}
ANGLES = ("case2.time_proj", "case2.time_embedding")


def test_what_happens_inside_is_the_references_too():
    unet, wanted, seen = small_unet("case2"), tensors("lavie_small_public_intermediates"), {}
    for name, module in {**INSIDE, **ENTERING}.items():

        def keep(_, arguments, output, name=name):
            seen[name] = arguments[0] if name in ENTERING else output

        unet.get_submodule(module).register_forward_hook(keep)
    with torch.no_grad():
        unet(*inputs("case2"))
    frames = inputs("case2")[0].shape[2]
    for name, value in seen.items():
        if wanted[name].ndim == 5:
            # (batch, channel, frame, height, width) there, frames as a batch here
            value = value.unflatten(0, (-1, frames)).transpose(1, 2)
        assert value.shape == wanted[name].shape, name
        bound = TOLERANCE_OF_ANGLES if name in ANGLES else TOLERANCE
        assert distance(value, wanted[name]) < bound, name
    assert len(seen) == len(INSIDE) + len(ENTERING)


def test_relative_buckets_are_the_references_up_to_64_frames():
    wanted = tensors("lavie_small_public_intermediates")["aux.relative_bucket_index"]
    for frames in (1, 2, 16, 64):
        assert torch.equal(relative_buckets(frames), wanted[:frames, :frames])


def test_rotation_turns_adjacent_pairs_of_the_first_32_channels():
    aux = tensors("lavie_small_public_intermediates")
    rotary = Rotary()
    assert torch.allclose(rotary.freqs, aux["aux.rotary.freqs"], rtol=1e-6, atol=0)
    turned = rotary(aux["aux.rotary.input"])
    assert distance(turned, aux["aux.rotary.output"]) < TOLERANCE
    assert torch.equal(turned[..., 32:], aux["aux.rotary.input"][..., 32:])


def test_a_number_a_tensor_and_a_list_of_timesteps_mean_the_same():
    unet = small_unet("case2")
    sample, _, text = inputs("case2")
    with torch.no_grad():
        whole, single, each = (
            unet(sample, t, text).sample for t in (7, torch.tensor(7), torch.tensor([7.0, 7.0]))
        )
    assert torch.equal(whole, single) and torch.equal(single, each)


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_stays_finite_and_near_and_the_angles_stay_exact(dtype):
    unet = small_unet("case0").to(dtype)
    sample, t, text = inputs("case0")
    with torch.no_grad():
        output = unet(sample.to(dtype), t, text.to(dtype)).sample
    assert output.dtype == dtype and torch.isfinite(output).all()
    wanted = tensors()["case0.output"]
    assert distance(output, wanted) < {torch.bfloat16: 0.05, torch.float16: 0.01}[dtype]
    tables = [value for key, value in unet.state_dict().items() if key.endswith("rotary_emb.freqs")]
    assert len(tables) == 16 and all(table.dtype == torch.float32 for table in tables)
    assert all(
        torch.equal(table, tensors()[f"weights.{BLOCK}.attn_temp.rotary_emb.freqs"])
        for table in tables
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_linear_projection": True}, "use_linear_projection"),
        ({"act_fn": "gelu"}, "act_fn"),
        ({"class_embed_type": "timestep"}, "class_embed_type"),
        ({"attention_head_dim": 8}, "heads of 8 channels"),
        ({"down_block_types": ["DownBlock2D"]}, "4 widths for 1 down"),
    ],
)
def test_a_config_of_another_architecture_is_refused(changes, words):
    with torch.device("meta"), pytest.raises(ValueError, match=words):
        LaVieUNet(**{**ABOUT["config"], **changes})


def test_levels_layers_and_heads_are_the_configs():
    config = {
        "block_out_channels": (32, 64, 96), "attention_head_dim": (1, 2, 3), "layers_per_block": 1,
        "norm_num_groups": 8, "cross_attention_dim": 24,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    unet = LaVieUNet(**config).eval()
    heads = {module.heads for name, module in unet.named_modules() if name.endswith("attn_temp")}
    assert heads == {2, 3}
    with torch.no_grad():
        output = unet(torch.randn(2, 4, 3, 9, 13), 5, torch.randn(2, 6, 24)).sample
    assert output.shape == (2, 4, 3, 9, 13) and torch.isfinite(output).all()

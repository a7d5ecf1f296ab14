"""LoRAs as people have them: every spelling merges the same numbers, or is refused by its name."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from peft import LoHaConfig, LoKrConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from support import lora_files, tiny_networks
from support.family_experts import CPU, ROLE_OF, spec_of
from support.lora_files import factors_for, kohya, peft, product, write, write_folder

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.families import family_named
from confiner_cli.experts.loading import components_of, load_expert
from confiner_cli.experts.lora import count_layers, merge_loras
from confiner_cli.experts.networks.clip_text import CLIPTextModel
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.spec import LoraSpec

ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0"
QUERIES = [f"{ATTENTION}.attn1.to_q", f"{ATTENTION}.attn2.to_v", f"{ATTENTION}.attn1.to_out.0"]
LINEAR = [*QUERIES, f"{ATTENTION}.ff.net.0.proj", "down_blocks.0.resnets.0.time_emb_proj"]
CONVOLUTIONS = ["down_blocks.0.resnets.0.conv1", "conv_in", "up_blocks.1.resnets.0.conv_shortcut"]
ALL = [*LINEAR, *CONVOLUTIONS, "time_embedding.linear_1", "down_blocks.0.downsamplers.0.conv"]
ORIGINAL = {
    f"{ATTENTION}.attn1.to_q": "input_blocks.1.1.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.resnets.0.conv1": "input_blocks.1.0.in_layers.2",
    "down_blocks.0.resnets.0.time_emb_proj": "input_blocks.1.0.emb_layers.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "mid_block.resnets.1.conv2": "middle_block.2.out_layers.3",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.1.conv",
    "up_blocks.1.resnets.0.conv_shortcut": "output_blocks.2.0.skip_connection",
    "time_embedding.linear_2": "time_embed.2",
    "conv_out": "out.2",
}
"""Layers of the small UNet as the original layout has them."""


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    torch.manual_seed(3)
    return tiny_networks.unet_2d().requires_grad_(False)


@pytest.fixture(scope="module")
def text() -> CLIPTextModel:
    torch.manual_seed(4)
    theirs = tiny_networks.text_encoder(tiny_networks.spelling_tokenizer())
    encoder = CLIPTextModel.from_config(theirs.config.to_dict())
    encoder.load_state_dict(theirs.state_dict())
    return encoder.requires_grad_(False)


def changes(network, name, path, scale=1.0):
    """What merging adds to each weight that it changes; its headers promise as many layers."""
    merged = merge_loras(copy.deepcopy(network), name, [(path, scale)])
    before, after = network.state_dict(), merged.state_dict()
    assert list(before) == list(after)
    added = {
        key: value - before[key]
        for key, value in after.items()
        if not torch.equal(value, before[key])
    }
    assert count_layers(network, name, path) == len(added)
    return added


def check(added, factors, strengths):
    """`strengths` is one number, or a function of layer and rank."""
    assert sorted(added) == sorted(f"{layer}.weight" for layer in factors)
    for layer, (down, up) in factors.items():
        strength = strengths(layer, len(down)) if callable(strengths) else strengths
        wanted = strength * product(down, up)
        got = added[f"{layer}.weight"]
        assert float((got - wanted).norm() / wanted.norm()) < 1e-4, layer


SPELLINGS = {
    "peft": (ALL, peft),
    "peft, saved with the adapter's name": (ALL, lambda it: peft(it, adapter=".default")),
    "peft's own prefix": (ALL, lambda it: peft(it, prefix="base_model.model.")),
    "diffusers": (ALL, lora_files.diffusers),
    "processors": (QUERIES, lora_files.processors),
    "bare processors": (QUERIES, lambda it: lora_files.processors(it, prefix="")),
    "kohya": (ALL, kohya),
    "comfy": (ALL, lambda it: peft(it, prefix="diffusion_model.")),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_lora_merges_the_same_numbers(spelling, unet, tmp_path):
    layers, spelt = SPELLINGS[spelling]
    factors = factors_for(unet, layers)
    path = write(tmp_path / "style.safetensors", spelt(factors))
    check(changes(unet, "unet", path, scale=0.7), factors, 0.7)


@pytest.mark.parametrize("spelt", [kohya, peft])
def test_layers_named_as_in_the_original_layout_are_found(spelt, unet, tmp_path):
    factors = factors_for(unet, list(ORIGINAL))
    renamed = {ORIGINAL[layer]: pair for layer, pair in factors.items()}
    path = write(tmp_path / "style.safetensors", spelt(renamed))
    check(changes(unet, "unet", path), factors, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_ranks_alphas_and_precisions_may_differ_from_layer_to_layer(dtype, unet, tmp_path):
    factors = factors_for(unet, ALL, ranks=(2, 4, 3))
    tensors = kohya(factors)
    alphas = {layer: 1.0 + number for number, layer in enumerate(ALL) if number % 2}
    for layer, alpha in alphas.items():
        tensors[f"lora_unet_{layer.replace('.', '_')}.alpha"] = torch.tensor(alpha)
    first = next(iter(tensors))
    tensors[first] = tensors[first].to(dtype)
    factors[ALL[0]] = tensors[first].float(), factors[ALL[0]][1]
    path = write(tmp_path / "style.safetensors", tensors)
    check(changes(unet, "unet", path), factors, lambda layer, rank: alphas.get(layer, rank) / rank)


def test_alpha_is_honoured_where_the_config_alone_has_it(unet, tmp_path):
    factors = factors_for(unet, QUERIES, ranks=(4,))
    inside = {"unet.lora_alpha": 16, "unet.r": 4, "unet.alpha_pattern": {"attn2.to_v": 2}}
    file = write(tmp_path / "style.safetensors", peft(factors), **inside)
    beside = {"lora_alpha": 16, "r": 4, "alpha_pattern": {"attn2.to_v": 2}, "peft_type": "LORA"}
    folder = write_folder(tmp_path / "folder", peft(factors, prefix="base_model.model."), **beside)
    for path in (file, folder, folder / "adapter_model.safetensors"):
        added = changes(unet, "unet", path)
        check(added, factors, lambda layer, _: 0.5 if "attn2" in layer else 4.0)


def test_alpha_is_divided_by_the_ranks_root_where_the_config_says_so(unet, tmp_path):
    factors = factors_for(unet, QUERIES, ranks=(4,))
    says = {"lora_alpha": 4, "use_rslora": True}
    check(changes(unet, "unet", write_folder(tmp_path / "a", peft(factors), **says)), factors, 2)


def test_a_convolution_split_in_three_is_merged(unet, tmp_path):
    layer = "down_blocks.0.resnets.0.conv1"
    down, up = factors_for(unet, [layer])[layer]
    mid, down = torch.randn(2, 2, 3, 3), torch.randn(2, down.shape[1], 1, 1)
    whole = torch.einsum("rshw,si->rihw", mid, down[:, :, 0, 0])
    tensors = kohya({layer: (down, up)})
    tensors[f"lora_unet_{layer.replace('.', '_')}.lora_mid.weight"] = mid
    path = write(tmp_path / "style.safetensors", tensors)
    check(changes(unet, "unet", path), {layer: (whole, up)}, 1)


def test_kernels_of_one_pixel_may_be_matrices(unet, tmp_path):
    """Published files have `proj_in` as a convolution, networks may have it as a matrix."""
    layer = "up_blocks.1.resnets.0.conv_shortcut"
    factors = factors_for(unet, [layer])
    down, up = factors[layer]
    path = write(tmp_path / "style.safetensors", kohya({layer: (down.flatten(1), up.flatten(1))}))
    check(changes(unet, "unet", path), factors, 1)


TEXT_LAYERS = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.0.self_attn.out_proj"]
TEXT_SPELLINGS = {
    "kohya": lambda it: kohya(it, prefix="lora_te_text_model_"),
    "kohya for two encoders": lambda it: kohya(it, prefix="lora_te1_text_model_"),
    "peft": lambda it: peft(it, prefix="text_encoder.text_model."),
    "peft's own": lambda it: peft(it, prefix="base_model.model.text_model."),
    "bare": lambda it: peft(it, prefix=""),
    "diffusers": lambda it: {
        name.replace(".lora_A", ".lora_linear_layer.down").replace(
            ".lora_B", ".lora_linear_layer.up"
        ): tensor
        for name, tensor in peft(it, prefix="text_encoder.text_model.").items()
    },
    "processors": lambda it: {
        name.replace("q_proj.lora.", "to_q_lora.").replace("out_proj.lora.", "to_out_lora."): tensor
        for name, tensor in lora_files.diffusers(it, prefix="text_encoder.text_model.").items()
    },
}


@pytest.mark.parametrize("spelling", TEXT_SPELLINGS)
def test_a_lora_of_the_text_encoder_alone_is_merged(spelling, text, unet, tmp_path):
    factors = factors_for(text, TEXT_LAYERS)
    path = write(tmp_path / "style.safetensors", TEXT_SPELLINGS[spelling](factors))
    check(changes(text, "text_encoder", path, scale=2.0), factors, 2.0)
    assert count_layers(unet, "unet", path) == 0


def test_a_folder_may_have_an_adapter_for_each_network(text, unet, tmp_path):
    of_unet, of_text = factors_for(unet, QUERIES), factors_for(text, TEXT_LAYERS)
    for name, factors, alpha in (("unet", of_unet, 6), ("text_encoder", of_text, 2)):
        tensors = peft(factors, prefix="base_model.model.")
        write_folder(tmp_path / "both" / name, tensors, lora_alpha=alpha, r=2)
    check(changes(unet, "unet", tmp_path / "both"), of_unet, 3)
    check(changes(text, "text_encoder", tmp_path / "both"), of_text, 1)


def test_a_folder_without_an_adapter_is_refused_by_its_name(tiny_networks, tmp_path):
    spec = spec_of("stable_diffusion", tiny_networks, loras=[LoraSpec(str(tmp_path))])
    with NetworkCache() as cache, pytest.raises(ConfinerError, match=str(tmp_path)) as caught:
        load_expert("spatial", spec, CPU, torch.float32, POLICIES["high"], cache)
    assert caught.value.exit_code == 2


MOTION = "down_blocks.0.motion_modules.0.transformer_blocks.0"
MOTION_LAYERS = [f"{MOTION}.attn1.to_q", f"{MOTION}.attn2.to_out.0"]
MOTION_SPELLINGS = {
    "diffusers": lora_files.processors,
    "original": lambda it: {
        name.replace("0.transformer_blocks", "0.temporal_transformer.transformer_blocks")
        .replace("attn1", "attention_blocks.0")
        .replace("attn2", "attention_blocks.1"): tensor
        for name, tensor in lora_files.processors(it, prefix="").items()
    },
}


@pytest.mark.parametrize("spelling", MOTION_SPELLINGS)
def test_a_motion_lora_is_merged_into_the_motion_modules(spelling, tiny_networks, tmp_path):
    spec = spec_of("animatediff", tiny_networks)
    components = components_of("control", spec, CPU, torch.float32)
    network = family_named("animatediff").load(components)
    factors = factors_for(network, MOTION_LAYERS)
    tensors = MOTION_SPELLINGS[spelling](factors)
    paths = [write(tmp_path / "zoom.safetensors", tensors), tmp_path / "zoom.ckpt"]
    torch.save({"state_dict": tensors}, paths[1])  # as they were published
    for path in paths:
        check(changes(network, "unet", path), factors, 1)


def adapted_by_peft(unet, config):
    """A network with random factors of peft's in it: the factors, and what they make of it."""
    torch.manual_seed(5)
    network = get_peft_model(copy.deepcopy(unet), config)
    tensors = {
        name: value.clone() + 0.01 * torch.randn_like(value)
        for name, value in get_peft_model_state_dict(network).items()
    }
    set_peft_model_state_dict(network, tensors)
    return tensors, network.merge_and_unload().state_dict()


@pytest.mark.parametrize(
    "config",
    [
        LoHaConfig(r=2, alpha=6, target_modules=[LINEAR[0], CONVOLUTIONS[0]]),
        LoHaConfig(
            r=2, alpha=2, use_effective_conv2d=True, target_modules=[LINEAR[1], CONVOLUTIONS[0]]
        ),
        LoKrConfig(r=2, alpha=6, target_modules=[LINEAR[3], CONVOLUTIONS[0]]),
        LoKrConfig(
            r=1, alpha=2, decompose_both=True, decompose_factor=4, target_modules=[LINEAR[3]]
        ),
    ],
    ids=["LoHa", "LoHa in three", "LoKr", "LoKr of products"],
)
def test_products_of_lycoris_are_merged_as_peft_merges_them(config, unet, tmp_path):
    tensors, wanted = adapted_by_peft(unet, config)
    names = {name.removeprefix("base_model.model."): value for name, value in tensors.items()}
    says = {"peft_type": config.peft_type.value, "alpha": config.alpha, "r": config.r}
    folder = write_folder(tmp_path / "a", names, **says)
    merged = merge_loras(copy.deepcopy(unet), "unet", [(folder, 1.0)]).state_dict()
    for layer in config.target_modules:
        key = f"{layer}.weight"
        change = wanted[key] - unet.state_dict()[key]
        assert float(change.norm()) > 0
        assert float((merged[key] - wanted[key]).norm() / change.norm()) < 1e-4
    assert count_layers(unet, "unet", folder) == len(config.target_modules)


def test_a_lokr_of_two_whole_factors_has_no_alpha(unet, tmp_path):
    """LyCORIS writes one all the same, and does not read it."""
    layer = LINEAR[0]
    one, other = torch.randn(2, 2), torch.randn(4, 4)
    name = f"lora_unet_{layer.replace('.', '_')}"
    tensors = {
        f"{name}.lokr_w1": one,
        f"{name}.lokr_w2": other,
        f"{name}.alpha": torch.tensor(2.0),
    }
    path = write(tmp_path / "style.safetensors", tensors)
    added = changes(unet, "unet", path, scale=0.5)
    assert torch.allclose(added[f"{layer}.weight"], 0.5 * torch.kron(one, other), atol=1e-5)


@pytest.mark.parametrize("layer", [LINEAR[0], CONVOLUTIONS[0]])
def test_dora_gives_every_output_its_magnitude(layer, unet, tmp_path):
    """`m * (W + up @ down) / |W + up @ down|`, in LyCORIS' spelling and in peft's."""
    down, up = factors_for(unet, [layer])[layer]
    weight = unet.get_submodule(layer).weight
    turned = weight + product(down, up)
    ones = [1] * (weight.dim() - 1)
    magnitude = 0.5 + torch.rand(len(weight))
    norm = turned.flatten(1).norm(dim=1).view(-1, *ones)
    wanted = magnitude.view(-1, *ones) * turned / norm
    lycoris = kohya({layer: (down, up)})
    lycoris[f"lora_unet_{layer.replace('.', '_')}.dora_scale"] = magnitude.view(-1, *ones)
    theirs = peft({layer: (down, up)})
    shaped = magnitude if weight.dim() == 2 else magnitude.view(1, -1, *ones[1:])
    theirs[f"unet.{layer}.lora_magnitude_vector"] = shaped
    for name, tensors in (("lycoris", lycoris), ("peft", theirs)):
        path = write(tmp_path / f"{name}.safetensors", tensors)
        added = changes(unet, "unet", path)
        assert torch.allclose(weight + added[f"{layer}.weight"], wanted, atol=1e-5)


LAYER = "lora_unet_" + LINEAR[0].replace(".", "_")
PAIR = {f"{LAYER}.lora_down.weight": torch.ones(2, 8), f"{LAYER}.lora_up.weight": torch.ones(8, 2)}
REFUSED = {
    "full differences": ({f"{LAYER}.diff": torch.ones(8, 8)}, "full differences of weights"),
    "OFT": ({f"{LAYER}.oft_blocks": torch.ones(2, 4, 4)}, "OFT"),
    "GLoRA": ({f"{LAYER}.a1.weight": torch.ones(2, 8)}, "GLoRA"),
    "IA3": ({f"{LAYER}.on_input": torch.tensor(True)}, "IA3"),
    "embeddings": ({"text_encoder.embeddings.lora_embedding_A": torch.ones(2)}, "embeddings"),
    "a second text encoder": (
        {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(2, 8)},
        "another kind of model",
    ),
    "a transformer": (
        {"transformer.transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(2, 8)},
        "another kind of model",
    ),
    "no LoRA": ({"conv_in.weight": torch.ones(8, 4, 3, 3)}, "no LoRA's"),
    "half a LoRA": ({f"{LAYER}.lora_down.weight": torch.ones(2, 8)}, "has no factor up"),
    "no factors": ({f"{LAYER}.alpha": torch.tensor(1.0)}, "nothing for"),
    "another width": (
        {**PAIR, f"{LAYER}.lora_down.weight": torch.ones(2, 320)},
        r"a weight of \(8, 8\), and the file a factor of \(2, 320\)",
    ),
    "a layer that is not there": (
        {"lora_unet_down_blocks_7_x.lora_down.weight": torch.ones(2, 8)},
        "no layer down_blocks_7_x",
    ),
    "a LoKr with DoRA": (
        {
            f"{LAYER}.lokr_w1": torch.ones(2, 2),
            f"{LAYER}.lokr_w2": torch.ones(4, 4),
            f"{LAYER}.dora_scale": torch.ones(8, 1),
        },
        "dora_scale beside its factors",
    ),
    "DoRA of inputs": ({**PAIR, f"{LAYER}.dora_scale": torch.ones(1, 8)}, "magnitudes of inputs"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_merged_is_refused_by_its_name_before_anything_is_sampled(
    kind, tiny_networks, tmp_path
):
    tensors, words = REFUSED[kind]
    path = write(tmp_path / "style.safetensors", tensors)
    spec = spec_of("stable_diffusion", tiny_networks, loras=[LoraSpec(str(path))])
    with NetworkCache() as cache, pytest.raises(ConfinerError, match=words) as caught:
        role = ROLE_OF["stable_diffusion"]
        load_expert(role, spec, CPU, torch.float32, POLICIES["high"], cache)
    assert not cache.modules
    assert caught.value.exit_code == 2
    assert len(caught.value.lines().splitlines()) == 2


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"peft_type": "IA3"}, "a IA3 adapter"),
        ({"modules_to_save": ["conv_in"]}, "modules_to_save"),
        ({"bias": "all"}, "bias=all"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
    ],
)
def test_what_an_adapters_config_says_is_honoured_or_refused(says, words, unet, tmp_path):
    folder = write_folder(tmp_path / "a", peft(factors_for(unet, QUERIES)), **says)
    with pytest.raises(ConfinerError, match=words):
        count_layers(unet, "unet", folder)

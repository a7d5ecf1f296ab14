"""UMT5 as a text encoder: the states that diffusers' WanPipeline makes of every prompt."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from diffusers.pipelines.wan import pipeline_wan
from safetensors.torch import load_file, save_file
from support import lora_files, umt5_files
from support.family_experts import T, load, sample, spec_of
from support.umt5_files import reader
from transformers import T5TokenizerFast
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.prompt_weighting import weighted
from confiner_cli.experts.spec import LoraSpec
from confiner_cli.experts.text_loading import Reading
from confiner_cli.experts.umt5_text import cleaned
from confiner_cli.method.options import GuidanceOptions

TEXTS = {
    "a few words": "the heart, a star.",
    "nothing": "",
    "blanks alone": " \n ",
    "a word that is no piece": "heart xyz",
    "unicode": "火 é e\u0301 \U0001f600 \u200b日本",
    "entities, written twice": "a &amp;amp; b &eacute; &lt;/s&gt; c",
    "white space": "  a\theart\n\n\nthe\u3000star\u00a0 a\x1fb ",
    "tokens of its own": "a </s> heart<pad>the<unk>",
    "as long as there is room": "a " * 511,
    "longer than there is room": "the heart, " * 300,
}
NAME = "model.safetensors"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return umt5_files.write(tmp_path_factory.mktemp("umt5"))


@pytest.fixture
def folder(written, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(written, tmp_path / "umt5")


@pytest.fixture
def pipeline(written, monkeypatch):
    """diffusers' own, without what it does not need for texts, and without ftfy."""
    monkeypatch.setattr(pipeline_wan, "is_ftfy_available", lambda: False)
    tokenizer = T5TokenizerFast.from_pretrained(written / "tokenizer", local_files_only=True)
    encoder = UMT5EncoderModel.from_pretrained(written / "text_encoder", local_files_only=True)
    return WanPipeline(tokenizer, encoder.eval(), vae=None, scheduler=None)


def apart(one, other):
    """The norm of the difference over the norm."""
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("length", [512, 7])
@torch.no_grad()
def test_states_are_those_of_diffusers_pipeline(length, pipeline, written):
    text = replace(reader(written), length=length)
    for name, prompt in TEXTS.items():
        theirs, negative = pipeline.encode_prompt(
            prompt, negative_prompt="a star", max_sequence_length=length
        )
        ours = text(prompt)
        assert ours.mask is None and ours.states.shape == (1, length, umt5_files.WIDTH)
        assert apart(ours.states, theirs) < 1e-6, name
        assert torch.equal(ours.states == 0, theirs == 0), name  # of the text and not of padding
        assert apart(text.negative("a star").states, negative) < 1e-6


def test_every_blank_is_cleaned_as_in_diffusers(pipeline):
    blanks = [chr(code) for code in range(0x10000) if chr(code).isspace()]
    text = "".join(f"{number}{blank}" for number, blank in enumerate(blanks))
    assert len(blanks) > 20
    assert cleaned(f"{text}a{text}") == pipeline_wan.prompt_clean(f"{text}a{text}")


@torch.no_grad()
def test_padding_that_is_masked_changes_no_token():
    """So none is computed."""
    network, ids = umt5_files.network(), torch.tensor([[4, 6, 9, 10, 1]])
    mask = (torch.arange(40) < 5).long()[None]
    padded = torch.nn.functional.pad(ids, (0, 35))
    alone = network(ids).last_hidden_state
    assert apart(network(padded, mask).last_hidden_state[:, :5], alone) < 1e-6
    assert apart(network(padded).last_hidden_state[:, :5], alone) > 1e-2


def test_the_end_that_is_not_read_is_told(written):
    text = replace(reader(written), length=5)
    assert text.truncated("a heart") == ""
    assert text.truncated("the heart\n\n&amp; the stars") == "the stars"
    assert torch.equal(text("the heart & the stars").states, text("the heart & ").states)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_computes_in_the_precision_that_it_is_loaded_in(dtype, written):
    assert reader(written, dtype)("a heart").states.dtype == dtype


@pytest.mark.parametrize("both", [True, False])
def test_its_table_may_be_in_a_file_once_or_twice(both, folder, written):
    path = folder / "text_encoder" / NAME
    tensors = load_file(path)
    assert "shared.weight" in tensors and "encoder.embed_tokens.weight" not in tensors
    if both:
        save_file(tensors | {"encoder.embed_tokens.weight": tensors["shared.weight"].clone()}, path)
    text = reader(folder)
    assert torch.equal(text("a heart").states, reader(written)("a heart").states)
    network = text.encoder.network()
    assert network.encoder.embed_tokens.weight is network.shared.weight


def test_tensors_of_a_decoder_are_refused(folder):
    path = folder / "text_encoder" / NAME
    save_file(load_file(path) | {"decoder.final_layer_norm.weight": torch.ones(32)}, path)
    with pytest.raises(ConfinerError, match=r"unknown 1 tensors \(decoder\.final_layer_norm"):
        reader(folder).load()


def test_a_reader_handed_to_another_process_reads_the_same(written):
    text = reader(written)
    copy = pickle.loads(pickle.dumps(text))
    assert torch.equal(copy("a heart").states, text("a heart").states)


def stating(path, **facts):
    stated = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**stated, **facts}), encoding="utf-8")


def sentencepiece_alone(tokenizer):
    (tokenizer / "tokenizer.json").rename(tokenizer / "spiece.model")


def no_end(tokenizer):
    stating(tokenizer / "tokenizer.json", post_processor=None)


def another_end(tokenizer):
    stating(tokenizer / "tokenizer_config.json", eos_token="<pad>")


def an_added_token(tokenizer):
    listed = {"99": {"content": "<cat>"}}
    stating(tokenizer / "tokenizer_config.json", added_tokens_decoder=listed)


def another_model(tokenizer):
    model = {"type": "WordLevel", "vocab": {"</s>": 1, "<unk>": 2}, "unk_token": "<unk>"}
    stating(tokenizer / "tokenizer.json", model=model)


@pytest.mark.parametrize(
    "damage", [sentencepiece_alone, no_end, another_end, an_added_token, another_model]
)
def test_a_tokenizer_that_is_not_t5s_is_refused(damage, folder):
    damage(folder / "tokenizer")
    with pytest.raises(ConfinerError, match=r"temporal tokenizer in .* cannot be loaded") as caught:
        reader(folder)
    assert "tokenizer.json" in caught.value.hint
    assert len(caught.value.lines().splitlines()) == 2


@pytest.mark.parametrize(
    ("reading", "setting"),
    [
        (Reading(clip_skip=1), "experts.temporal.clip_skip"),
        (Reading(embeddings=(("<x>", Path("x.pt")),)), "experts.temporal.embeddings"),
        (Reading(chunking=weighted), "prompt_weighting"),
    ],
)
def test_what_only_clip_can_is_refused(reading, setting, written):
    with pytest.raises(ConfinerError, match=f"{setting} is for CLIP") as caught:
        reader(written, reading=reading)
    assert f"{setting}=" in caught.value.hint


@pytest.fixture
def fitting(tiny_networks, tmp_path):
    """A UNet that reads states as wide as this UMT5's, which lies in the shared place."""
    umt5_files.write(tmp_path / "shared", width=16)
    shutil.copytree(tiny_networks / "shared" / "vae", tmp_path / "shared" / "vae")
    spec = spec_of("stable_diffusion", tiny_networks)
    return replace(spec, shared=str(tmp_path / "shared"))


def test_an_expert_is_told_its_states_and_guided_by_them(fitting):
    expert = load("stable_diffusion", fitting)
    expert.load()
    guided = expert.condition("a heart", "the star", GuidanceOptions(3.0))(sample(2), T)
    plain, other = (expert.condition(prompt)(sample(2), T) for prompt in ("a heart", "the star"))
    assert apart(guided.noise, other.noise + 3.0 * (plain.noise - other.noise)) < 1e-4
    assert apart(plain.noise, other.noise) > 1e-4


def test_of_another_width_it_is_refused_before_weights_are_read(fitting, folder):
    (folder / "text_encoder" / NAME).write_bytes(b"")
    named = replace(fitting, shared=str(folder))
    with pytest.raises(ConfinerError, match=r"reads texts of width 16, .* writes 32"):
        load("stable_diffusion", named)


@pytest.mark.parametrize(
    "facts",
    [
        {"is_decoder": True},
        {"a_new_field": 1},
        {"model_type": "t5"},
        {"quantization_config": {"bits": 4}},
    ],
)
def test_what_its_config_says_and_is_not_honoured_stops_the_run(facts, fitting):
    stating(Path(fitting.shared) / "text_encoder" / "config.json", **facts)
    with pytest.raises(
        ConfinerError, match=f"text encoder.* states {next(iter(facts))}="
    ) as caught:
        load("stable_diffusion", fitting)
    assert "UMT5" in caught.value.hint


def test_a_lora_for_its_network_is_merged_and_one_for_the_text_refused(fitting, tmp_path):
    unet = load("stable_diffusion", fitting).network.unet()
    layer = next(name for name, _ in unet.named_modules() if name.endswith("attn2.to_k"))
    factors = lora_files.peft(lora_files.factors_for(unet, [layer]))
    style = lora_files.write(tmp_path / "style.safetensors", factors)
    plain, styled = fitting, replace(fitting, loras=[LoraSpec(str(style), 90.0)])
    one, other = (load("stable_diffusion", spec) for spec in (plain, styled))
    assert one.text.encoder.network.key == other.text.encoder.network.key  # one network for both
    assert apart(*(each.condition("a")(sample(1), T).noise for each in (one, other))) > 1e-4

    text = "text_encoder.encoder.layers.0.self_attn.q_proj"
    more = {f"{text}.lora_{part}.weight": torch.ones(2, 2) for part in "AB"}
    lora_files.write(style, factors | more)
    with pytest.raises(ConfinerError, match="changes the text encoder") as caught:
        load("stable_diffusion", styled)
    assert "experts.spatial.loras=" in caught.value.hint

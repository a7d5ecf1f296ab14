"""Textual inversion: diffusers' answer with the files that there are, a clear word with others."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from support.family_experts import CPU, WITH_CLIP, T, distance, load, sample, spec_of
from torch import nn
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from confiner_cli.config.hydra import settings_with
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.loading import load_expert
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.prompt_weighting import weighted
from confiner_cli.experts.spec import EmbeddingSpec, requirements

WIDTH = 16
TOKEN = "<heart>"
PROMPT = f"a {TOKEN} b"


def vectors(count=2, width=WIDTH, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def spec(networks, *files, family="stable_diffusion", **changes):
    """An expert with embeddings: files, or pairs of a file and its token."""
    named = [each if isinstance(each, tuple) else (each, TOKEN) for each in files]
    embeddings = [EmbeddingSpec(str(path), token) for path, token in named]
    return spec_of(family, networks, embeddings=embeddings, **changes)


def text_of(networks, *files, **changes):
    return load("stable_diffusion", spec(networks, *files, **changes)).text


def written(path, content):
    save = save_file if path.suffix == ".safetensors" else torch.save
    save(content, path)
    return path


def a1111(table, **others):
    """As A1111 saves it; the first files had a module in the place of the inner dictionary."""
    facts = {"name": "heart", "step": 500, "sd_checkpoint": "abc", "sd_checkpoint_name": "v1-5"}
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": table}, **facts, **others}


TABLE = vectors()
FILES = {
    "learned_embeds.bin": {"<other-name>": TABLE},
    "learned_embeds.safetensors": {TOKEN: TABLE},
    "a1111.pt": a1111(TABLE),
    "a1111_parameter.pt": a1111(nn.Parameter(TABLE)),
    "first_a1111.pt": a1111(TABLE, string_to_param=nn.ParameterDict({"*": nn.Parameter(TABLE)})),
    "kohya.safetensors": {"emb_params": TABLE},
    "sdxl.safetensors": {"clip_l": TABLE, "clip_g": vectors(2, 20)},
    "sdxl.pt": {"clip_g": vectors(2, 20), "clip_l": TABLE},
    "several.safetensors": {TOKEN: TABLE, "<another>": vectors(1, seed=1)},
    "bare.pt": TABLE,
    "half.safetensors": {"emb_params": TABLE.half()},
}
EVERY_TIME = ("first_a1111.pt", "sdxl.safetensors")


@pytest.fixture
def reference(tiny_networks, tmp_path):
    """The states of the prompt with the vectors put into the table by hand."""
    shared = tiny_networks / "shared"
    encoder = CLIPTextModel.from_pretrained(shared / "text_encoder").eval()
    tokenizer = CLIPTokenizer.from_pretrained(shared / "tokenizer")
    first, *_, last = tokenizer("a b", add_special_tokens=False).input_ids
    rows = len(tokenizer)
    encoder.resize_token_embeddings(rows + 2, mean_resizing=False)
    encoder.get_input_embeddings().weight.data[rows:] = TABLE
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    ids = [start, first, rows, rows + 1, last, *[end] * 19]
    with torch.no_grad():
        return encoder(torch.tensor([ids])).last_hidden_state


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[] if each in EVERY_TIME else [pytest.mark.thorough])
     for each in FILES],
)  # fmt: skip
def test_a_learnt_word_is_its_vectors_whoever_wrote_the_file(
    name, tiny_networks, tmp_path, reference
):
    text = text_of(tiny_networks, written(tmp_path / name, FILES[name]))
    atol = 1e-2 if name.startswith("half") else 1e-5
    assert torch.allclose(text(PROMPT).states, reference, atol=atol)
    assert bool(text.embeddings[0].remark) == name.startswith("sdxl")


def test_a_folder_as_diffusers_saves_it_is_the_file_in_it(tiny_networks, tmp_path, reference):
    written(tmp_path / "learned_embeds.bin", {"<x>": TABLE})
    assert torch.allclose(text_of(tiny_networks, tmp_path)(PROMPT).states, reference, atol=1e-5)


def test_with_embeddings_a_prompt_is_what_diffusers_makes_of_it(exported_experts, tmp_path):
    folder = exported_experts / "spatial"
    files = {
        "<one>": written(tmp_path / "one.pt", a1111(vectors(1, 96))),
        "bad-dream": written(tmp_path / "two.safetensors", {"emb_params": vectors(3, 96, 1)}),
    }
    prompt = "a red <one> heart, bad-dream, <one>"
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    for token, path in files.items():
        pipeline.load_textual_inversion(str(path.parent), weight_name=path.name, token=token)
    theirs, _ = pipeline.encode_prompt(prompt, CPU, 1, do_classifier_free_guidance=False)
    embeddings = [EmbeddingSpec(str(path), token) for token, path in files.items()]
    one = replace(settings_with([]).experts.spatial, embeddings=embeddings)
    ours = load("stable_diffusion", one).text(prompt).states
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=[] if name == "lavie" else [pytest.mark.thorough])
     for name in WITH_CLIP],
)  # fmt: skip
def test_a_learnt_word_changes_every_familys_answer(family, tiny_networks, tmp_path):
    path = written(tmp_path / "heart.pt", TABLE)
    plain = load(family, spec_of(family, tiny_networks))
    given = load(family, spec(tiny_networks, path, family=family))
    one, other = (each.condition(PROMPT)(sample(), T) for each in (plain, given))
    assert distance(one, other) > 1e-3
    without = [each.condition("a star")(sample(), T) for each in (plain, given)]
    assert distance(*without) == 0


def test_encoders_with_other_vectors_are_other_networks_and_equal_ones_are_one(
    tiny_networks, tmp_path
):
    cache, policy = NetworkCache(), POLICIES["high"]
    path = written(tmp_path / "heart.pt", TABLE)
    copy = shutil.copy(path, tmp_path / "copy.pt")

    def encoder(role, *files):
        family = {"control": "animatediff", "spatial": "stable_diffusion"}[role]
        chosen = spec(tiny_networks, *files, family=family)
        return load_expert(role, chosen, CPU, torch.float32, policy, cache).text.encoder()

    plain, given = encoder("control"), encoder("spatial", path)
    assert plain is encoder("spatial") and given is not plain
    assert given is encoder("control", copy)
    assert encoder("spatial", (path, "<other>")) is not given
    before = given(torch.tensor([[5, given.embeddings.token_embedding.num_embeddings - 1]]))
    written(path, vectors(seed=3))  # another file under the same name
    again = encoder("spatial", path)
    assert again is not given
    after = again(torch.tensor([[5, again.embeddings.token_embedding.num_embeddings - 1]]))
    assert not torch.equal(before, after)


def test_networks_are_loaded_once_whatever_the_embeddings(tiny_networks, tmp_path):
    cache = NetworkCache()
    path = written(tmp_path / "heart.pt", TABLE)
    for chosen in (spec(tiny_networks), spec(tiny_networks, path)):
        load("stable_diffusion", chosen, cache=cache).load()
    roles = sorted(cache.on_device.values())
    assert roles == ["spatial", "text", "text"]


def test_a_word_of_several_vectors_stays_in_one_chunk(tiny_networks, tmp_path):
    path = written(tmp_path / "heart.pt", vectors(4))
    chosen = spec(tiny_networks, path)
    expert = load_expert(
        "spatial", chosen, CPU, torch.float32, POLICIES["high"], NetworkCache(), weighted
    )
    room = "abcdefghijklmnopqrst"  # 20 tokens of 22
    found = expert.text(f"{room} ({TOKEN}:1.3)").states
    assert found.shape[1] == 48
    first = load("stable_diffusion", chosen).text(room).states
    assert torch.allclose(found[:, :24], first, atol=1e-5)


def test_what_is_cut_is_told_by_the_words_that_were_written(tiny_networks, tmp_path):
    text = text_of(tiny_networks, written(tmp_path / "heart.pt", vectors(4)))
    assert text.truncated(f"{'ab' * 11} {TOKEN}") == TOKEN
    assert text.truncated(PROMPT) == ""


REFUSED = {
    "width.pt": (vectors(2, 20), "vectors of width 20, and the spatial expert's .* 16"),
    "sdxl.safetensors": ({"clip_g": vectors(2, 20)}, "vectors of width 20"),
    "xl.safetensors": ({"clip_l": vectors(2, 20), "clip_g": TABLE}, "vectors of width 20"),
    "lora.safetensors": (
        {"a.lora_A": TABLE, "a.lora_B": vectors()},
        "is no embedding: it has a.lora",
    ),
    "several.safetensors": ({"<a>": TABLE, "<b>": vectors()}, "is no embedding: it has <a>, <b>"),
    "network.safetensors": ({"conv": torch.ones(2, 3, 3, 3)}, "is no embedding"),
    "ids.pt": ({"*": torch.ones(2, 16, dtype=torch.long)}, "is no embedding"),
    "words.pt": ({"string_to_param": {}}, "is no embedding"),
    "nan.pt": (torch.full((1, 16), float("nan")), "NaN or infinity"),
    "many.pt": (vectors(23), "has 23 vectors, and a text 22 tokens"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[] if each == "xl.safetensors" else [pytest.mark.thorough])
     for each in REFUSED],
)  # fmt: skip
def test_a_file_that_is_no_embedding_for_this_encoder_is_named(name, tiny_networks, tmp_path):
    content, message = REFUSED[name]
    path = written(tmp_path / name, content)
    with pytest.raises(ConfinerError, match=message) as caught:
        text_of(tiny_networks, path)
    assert name in str(caught.value) and caught.value.exit_code == 2


class Code:
    """Something that runs when a pickle is read in full."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    "damage", ["cut", "page", pytest.param("code", marks=pytest.mark.thorough), "empty"]
)
def test_a_damaged_file_is_named_and_nothing_in_it_is_run(damage, tiny_networks, tmp_path, capsys):
    path = written(tmp_path / "heart.pt", a1111(TABLE))
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-200])
        case "page":
            path.write_bytes(b"<!doctype html>")
        case "empty":
            path.write_bytes(b"")
        case "code":
            torch.save(a1111(TABLE, other=Code()), path)
    with pytest.raises(ConfinerError, match=r"heart\.pt") as caught:
        text_of(tiny_networks, path)
    assert caught.value.exit_code == 2 and capsys.readouterr().out == ""


def test_a_token_that_there_is_already_is_refused(tiny_networks, tmp_path):
    path = written(tmp_path / "heart.pt", TABLE)
    with pytest.raises(ConfinerError, match="there is a token a already"):
        text_of(tiny_networks, (path, "a"))
    with pytest.raises(ConfinerError, match="there is a token <x>_1 already"):
        text_of(tiny_networks, (path, "<x>"), (path, "<x>_1"))


def test_embeddings_are_files_that_an_expert_needs(tiny_networks):
    chosen = spec(tiny_networks, "owner/name:heart.pt", ("~/star.pt", "<star>"))
    refs = [str(each.ref) for name, each in requirements(chosen) if name == "embeddings"]
    assert refs[0] == "owner/name:heart.pt"
    assert refs[1].endswith("star.pt") and "~" not in refs[1]

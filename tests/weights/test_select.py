"""Of a repository no more is chosen than what is needed of it, and nothing that is not whole."""

from __future__ import annotations

import pytest

from confiner_cli.weights.select import choice, is_whole, needed_files

STEM = "diffusion_pytorch_model"
SHARDS = tuple(f"{STEM}-{number:05d}-of-00002.safetensors" for number in (1, 2))
TEXT = tuple(f"model-{number:05d}-of-00003.safetensors" for number in (1, 2, 3))
INDEX = f"{STEM}.safetensors.index.json"


def in_folder(name, *files):
    return {f"{name}/{file}" for file in files}


WAN = {
    "model_index.json",
    "README.md",
    *in_folder("transformer", "config.json", INDEX, *SHARDS),
    *in_folder("transformer_2", "config.json", INDEX, *SHARDS),
    *in_folder("vae", "config.json", f"{STEM}.safetensors"),
    *in_folder("text_encoder", "config.json", "model.safetensors.index.json", *TEXT),
    *in_folder("tokenizer", "tokenizer.json", "tokenizer_config.json", "spiece.model"),
    *in_folder("scheduler", "scheduler_config.json"),
}
"""Wan 2.2's repository: two networks in float32, in shards."""
PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")


def test_of_a_pair_of_networks_the_one_that_is_named_is_taken():
    needed = set(needed_files(WAN, PARTS))
    others = {name for name in WAN if name.startswith("transformer_2/")}
    assert needed == WAN - others - {"README.md", "tokenizer/spiece.model"}
    assert others == {
        name for name in needed_files(WAN, ["transformer_2"]) if name != "model_index.json"
    }


@pytest.mark.parametrize("part", [*PARTS, "transformer_2"])
def test_a_component_is_whole_with_its_files_and_in_shards_only_with_all_of_them(part):
    assert is_whole(part, WAN)
    for name in needed_files(WAN, [part]):
        if name != "model_index.json":
            assert not is_whole(part, WAN - {name}), name


def test_shards_in_float32_are_taken_where_there_are_no_others():
    assert choice({INDEX, *SHARDS}) == (None, (INDEX, *SHARDS))
    halves = {f"{STEM}.safetensors.index.fp16.json"} | {
        name.replace(STEM, f"{STEM}.fp16") for name in SHARDS
    }
    chosen = choice({INDEX, *SHARDS, *halves})
    assert chosen is not None and chosen[0] == "fp16" and set(chosen[1]) == halves

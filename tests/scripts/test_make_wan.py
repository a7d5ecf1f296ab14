"""The random Wan that measurements are made with is one to diffusers, and in the hub's layout."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from diffusers import WanPipeline
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from safetensors import safe_open
from safetensors.torch import load_file
from support import tiny_networks as tiny

import make_wan
from confiner_cli.experts.components import Components
from wan.folder import GATES
from wan.shards import write_weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "wan"
    make_wan.main([str(root), "--tiny", "--gates", "--shard", "40000", "--seed", "3"])
    return root


def test_diffusers_makes_latents_with_it(folder):
    pipeline = WanPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        "a heart", height=16, width=16, num_frames=5, num_inference_steps=2, output_type="latent",
        generator=torch.Generator().manual_seed(1),
    ).frames  # fmt: skip
    assert made.shape == (1, 16, 2, 2, 2) and made.isfinite().all() and made.std() > 0.1
    config = pipeline.scheduler.config
    assert (config.prediction_type, config.flow_shift) == ("flow_prediction", 3.0)
    tokens = pipeline.tokenizer("a heart").input_ids
    assert pipeline.tokenizer.decode(tokens) == "a heart</s>" and len(set(tokens)) > 5


def test_it_is_in_shards_with_an_index_and_in_the_published_precisions(folder):
    for name, dtype in (("transformer", "F32"), ("vae", "F32"), ("text_encoder", "BF16")):
        (index,) = (folder / name).glob("*.safetensors.index.json")
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        assert Counter(places.values()).keys() == {
            path.name for path in (folder / name).glob("*.safetensors")
        }
        for key, file in places.items():
            with safe_open(folder / name / file, framework="pt") as opened:
                assert opened.get_slice(key).get_dtype() == dtype


def test_its_gates_are_what_a_family_allows(folder):
    components = Components("control", (folder,), torch.device("cpu"), torch.bfloat16)
    names = "|".join(GATES).replace(".", r"\.")
    allowed = [rf"blocks\.\d+\.({names})"]
    loaded = components.model("transformer", WanTransformer3DModel, allowed)
    assert loaded.state_dict().keys() == tiny.wan_transformer().state_dict().keys()


@pytest.mark.parametrize(("seed", "same"), [(3, True), (4, False)])
def test_its_numbers_are_those_of_its_seed(seed, same, folder, tmp_path):
    again = tmp_path / "again"
    words = ["--tiny", "--gates", "--shard", "40000", "--parts", "transformer"]
    make_wan.main([str(again), *words, "--seed", str(seed)])
    first, *_ = sorted((folder / "transformer").glob("*.safetensors"))
    assert ((again / "transformer" / first.name).read_bytes() == first.read_bytes()) == same


def test_what_is_there_is_not_written_over(folder):
    with pytest.raises(SystemExit, match="not empty"):
        make_wan.main([str(folder), "--tiny"])


def test_a_shard_is_filled_with_what_is_drawn_tensor_by_tensor(tmp_path):
    drawn = []

    def draw(name, values):
        drawn.append(name)
        return values.fill_(len(drawn))

    shapes = {"a": (2, 3), "b": (5,), "c": (4,)}
    write_weights(tmp_path, "model", shapes, torch.bfloat16, 22, draw)
    assert drawn == list(shapes)
    found = [load_file(path) for path in sorted(tmp_path.glob("*.safetensors"))]
    assert [list(shard) for shard in found] == [["a", "b"], ["c"]]
    assert found[0]["a"].tolist() == [[1.0] * 3] * 2 and found[1]["c"].tolist() == [3.0] * 4

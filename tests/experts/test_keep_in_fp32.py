"""Networks have the precisions that their libraries give them, and take their memory once."""

from __future__ import annotations

import json
import shutil
import weakref
from collections import Counter
from dataclasses import dataclass, replace

import pytest
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from support import tiny_networks as tiny
from transformers.models.umt5.configuration_umt5 import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.components import Components
from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.expert import Expert
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.method.flow import Flow
from confiner_cli.weights import tensors as reading

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
HALVES = DTYPES[1:]
SHARD = "40KB"
GATES = r"blocks\.\d+\.to_gate_compress\.(weight|bias)"


class TextEncoder(UMT5EncoderModel):
    """As diffusers' classes and ours are made."""

    @classmethod
    def from_config(cls, config):
        return cls(UMT5Config(**config))


class StrictTextEncoder(TextEncoder):
    """Keeps a layer in float32 beside bfloat16, too, by a pattern."""

    _keep_in_fp32_modules_strict = ("block.0*wi_0",)


class Norms(ModelMixin, ConfigMixin):
    """Of two layers only one has a name that is kept; the other's begins like it."""

    _keep_in_fp32_modules = ["norm"]  # noqa: RUF012

    @register_to_config
    def __init__(self, width=64):
        super().__init__()
        self.norm = torch.nn.Linear(width, width)
        self.norm_out = torch.nn.Linear(2 * width, width)


KINDS = {
    "transformer": (tiny.wan_transformer, WanTransformer3DModel),
    "unet": (tiny.unet_2d, UNet2DConditionModel),
    "text_encoder": (tiny.umt5, TextEncoder),
    "strict_text_encoder": (tiny.umt5, StrictTextEncoder),
    "norms": (Norms, Norms),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of networks in float32, in shards."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("saved")
    for name, (make, _) in KINDS.items():
        make().save_pretrained(folder / name, max_shard_size=SHARD)
    assert len(list(folder.glob("*/*-00002-of-*.safetensors"))) == len(KINDS)
    return folder


@pytest.fixture
def transformer(saved, tmp_path):
    """A copy of the transformer, to be changed."""
    return shutil.copytree(saved / "transformer", tmp_path / "transformer")


def components(folder, dtype):
    return Components("temporal", (folder,), CPU, dtype)


def load(folder, name, dtype, **more):
    return components(folder, dtype).model(name, KINDS[name][1], **more)


def theirs(folder, name, dtype):
    """The same network as its own library loads it."""
    return KINDS[name][1].from_pretrained(folder / name, dtype=dtype)


def tensors_of(module):
    """All that it holds; what has two names by both."""
    own = dict(module.named_parameters(remove_duplicate=False))
    return own | dict(module.named_buffers(remove_duplicate=False))


def is_same(one, other):
    """Whether two networks hold the same, name for name and bit for bit."""
    ours, theirs = tensors_of(one), tensors_of(other)
    return ours.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[key]) for key, tensor in ours.items()
    )


def precisions(module):
    return {tensor.dtype for tensor in tensors_of(module).values()}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_every_tensor_is_what_its_own_library_makes_of_it(name, dtype, saved):
    ours, wanted = (tensors_of(each(saved, name, dtype)) for each in (load, theirs))
    assert ours.keys() == wanted.keys()
    for key, tensor in ours.items():
        assert tensor.dtype == wanted[key].dtype, key
        assert torch.equal(tensor, wanted[key]), key


@pytest.mark.parametrize(
    ("name", "mixed"),
    [
        ("transformer", HALVES),
        ("unet", []),
        ("text_encoder", [torch.float16]),
        ("strict_text_encoder", HALVES),
        ("norms", HALVES),
    ],
)
def test_a_network_is_in_two_precisions_only_where_its_class_says_so(name, mixed, saved):
    for dtype in HALVES:
        wanted = {dtype, torch.float32} if dtype in mixed else {dtype}
        assert precisions(load(saved, name, dtype)) == wanted


def test_a_table_with_two_names_is_one_parameter(saved):
    encoder = load(saved, "text_encoder", torch.bfloat16)
    assert encoder.encoder.embed_tokens.weight is encoder.shared.weight


@dataclass(frozen=True)
class Asked:
    """A transformer as an expert asks it."""

    transformer: torch.nn.Module

    def __call__(self, x_t, t, conditioning):
        return self.transformer(x_t, t.expand(len(x_t)), conditioning.states).sample

    def remembering(self, conditioning):
        return conditioning


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_an_expert_asks_a_network_of_two_precisions_as_diffusers_would(dtype, saved):
    random = torch.Generator().manual_seed(1)
    states = torch.randn(1, 5, 32, generator=random).to(dtype)
    x_t = torch.randn(1, 16, 3, 4, 6, generator=random)
    answers = []
    for each in (load, theirs):
        network = Asked(each(saved, "transformer", dtype))
        expert = Expert("temporal", network, None, Flow(), "flow_prediction", CPU, dtype)
        answers.append(expert.given(Conditioning(states))(x_t, 500.0))
    assert torch.equal(answers[0].clean, answers[1].clean) and answers[0].clean.isfinite().all()


def test_a_network_keeps_its_precisions_wherever_it_is_moved(saved):
    def precision_by_name():
        return {key: tensor.dtype for key, tensor in tensors_of(cache.modules["ours"]).items()}

    there = torch.device("meta")
    with NetworkCache() as cache:
        ours = ("ours", "temporal", there, POLICIES["low"])
        cache.get(*ours, lambda: load(saved, "transformer", torch.bfloat16).to(there))
        before = precision_by_name()
        cache.modules["ours"].to_empty(device=CPU)
        cache.get("other", "control", there, POLICIES["low"], lambda: torch.nn.Linear(1, 1))
        assert "ours" not in cache.on_device and precision_by_name() == before
        cache.get(*ours, lambda: None)
        assert "ours" in cache.on_device and precision_by_name() == before


@pytest.fixture
def read(monkeypatch):
    """What is read of safetensors files."""
    log = Read()

    class Watched:
        def __init__(self, path, **options):
            log.opened[path.name] += 1
            self.file = plain(path, **options)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def get_tensor(self, name):
            return log.note(name, self.file.get_tensor(name))

    plain = reading.safe_open
    monkeypatch.setattr(reading, "safe_open", Watched)
    return log


class Read:
    """Tensors of files: which, where they are, and how many were alive when each was read."""

    def __init__(self):
        self.opened, self.names, self.places, self.alive = Counter(), [], set(), []
        self._given = []

    def note(self, name, tensor):
        self.alive.append(sum(each() is not None for each in self._given))
        self._given.append(weakref.ref(tensor))
        self.names.append(name)
        self.places.add(tensor.data_ptr())
        return tensor


def test_a_tensor_is_turned_before_the_next_one_is_read(saved, read):
    module = load(saved, "transformer", torch.bfloat16)
    assert sorted(read.names) == sorted(module.state_dict())
    assert set(read.alive) == {0}
    assert not read.places & {tensor.data_ptr() for tensor in module.parameters()}


def test_what_is_stored_as_it_is_used_stays_in_the_files(saved, read):
    module = load(saved, "transformer", torch.float32)
    assert {tensor.data_ptr() for tensor in module.parameters()} == read.places
    assert set(read.opened.values()) == {1} and len(read.opened) > 1


def test_of_a_file_whose_tensors_become_others_only_a_part_is_in_memory(saved, read, monkeypatch):
    wanted = load(saved, "transformer", torch.bfloat16)
    assert set(read.opened.values()) == {1}
    monkeypatch.setattr(reading, "AT_ONCE", 2**14)
    assert is_same(load(saved, "transformer", torch.bfloat16), wanted)
    assert max(read.opened.values()) > 2


def test_a_pickle_holds_the_same_network(saved, transformer):
    wanted, found = load(saved, "transformer", torch.bfloat16), {}
    for path in transformer.glob("*.safetensors"):
        found |= load_file(path)
        path.unlink()
    torch.save(found, transformer / "diffusion_pytorch_model.bin")
    taken = replace(components(transformer.parent, torch.bfloat16), pickles=True)
    assert is_same(taken.model("transformer", WanTransformer3DModel), wanted)


def add(folder, **more):
    """Put tensors into a folder's last shard."""
    path = sorted(folder.glob("*.safetensors"))[-1]
    save_file(load_file(path) | more, path, metadata={"format": "pt"})


@pytest.fixture
def gated(transformer):
    """As FastVideo's distilled transformers are."""
    for block in (0, 1):
        for name in ("weight", "bias"):
            add(transformer, **{f"blocks.{block}.to_gate_compress.{name}": torch.ones(24)})
    return transformer


def test_unknown_tensors_are_refused_unless_they_are_allowed_by_name(gated, saved, read):
    with pytest.raises(ConfinerError, match=r"unknown 4 tensors \(blocks\.0\.to_gate_compress"):
        load(gated.parent, "transformer", torch.bfloat16)
    ours = load(gated.parent, "transformer", torch.bfloat16, allowed=[GATES])
    wanted = load(saved, "transformer", torch.bfloat16)
    assert not any("gate" in name for name in read.names)
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), wanted.parameters(), strict=True)
    )


@pytest.mark.parametrize("other", ["blocks.0.to_gate", "blocks.0.to_gate_compress.weight_scale"])
def test_what_is_allowed_allows_nothing_beside_it(other, gated):
    add(gated, **{other: torch.ones(3)})
    with pytest.raises(ConfinerError, match=r"unknown 1 tensors \(blocks\.0\.to_gate"):
        load(gated.parent, "transformer", torch.bfloat16, allowed=[GATES])


def test_what_the_network_has_is_read_whatever_is_allowed(saved):
    ours = load(saved, "transformer", torch.bfloat16, allowed=[".*"])
    wanted = load(saved, "transformer", torch.bfloat16)
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), wanted.parameters(), strict=True)
    )


def test_tensors_that_are_missing_or_of_other_shapes_are_told_before_any_is_read(transformer, read):
    config = transformer / "config.json"
    stated = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(stated | {"num_layers": 3, "text_dim": 33}), encoding="utf-8")
    with pytest.raises(ConfinerError, match=r"lacks \d+ tensors \(blocks\.2\..* other shapes of 1"):
        load(transformer.parent, "transformer", torch.bfloat16)
    assert not read.names

"""Networks belong to whoever loads them: freed when they are closed, never shared unasked."""

from __future__ import annotations

import gc
import logging
import pickle
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.family_experts import CPU, T, load, sample, spec_of
from torch import nn

from confiner_cli.api import load as load_set
from confiner_cli.config.hydra import settings_with
from confiner_cli.errors import ConfinerError
from confiner_cli.experts import text_loading
from confiner_cli.experts.families import FAMILIES, family_named
from confiner_cli.experts.inspection import inspect
from confiner_cli.experts.loading import load_decoder
from confiner_cli.experts.loading_messages import collected
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.spec import sharing_vaes
from confiner_cli.method.options import GuidanceOptions


@pytest.fixture
def cache():
    return NetworkCache()


@pytest.fixture
def networks(tiny_networks, tmp_path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(tiny_networks, tmp_path / "networks"))


def decoder_of(networks, cache):
    spec = spec_of("stable_diffusion", networks)
    return load_decoder("spatial", spec, CPU, torch.float32, POLICIES["high"], cache)


def without_a_tensor(component: Path) -> None:
    """A whole file, which looks right from outside: only a network finds out what it lacks."""
    (path,) = component.glob("*.safetensors")
    tensors = load_file(path)
    tensors.popitem()
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("component", ["control/unet", "shared/text_encoder"])
def test_damaged_weights_of_an_expert_are_told_when_it_is_loaded(component, networks, cache):
    without_a_tensor(networks / component)
    expert = load("animatediff", spec_of("animatediff", networks), cache=cache)
    with pytest.raises(ConfinerError, match=rf"{Path(component).name} in .* cannot be loaded"):
        expert.load()


def test_a_damaged_vae_is_told_when_the_decoder_is_loaded(networks, cache):
    without_a_tensor(networks / "shared" / "vae")
    decoder = decoder_of(networks, cache)
    with pytest.raises(ConfinerError, match=r"vae in .* cannot be loaded"):
        decoder.load()


def test_a_set_with_damaged_weights_is_refused_when_it_is_loaded(exported_experts, tmp_path):
    model = Path(shutil.copytree(exported_experts / "temporal", tmp_path / "temporal"))
    without_a_tensor(model / "unet")
    with pytest.raises(ConfinerError, match=r"the temporal expert's unet .* cannot be loaded"):
        load_set("tiny", f"experts.temporal.model={model}")


@pytest.mark.parametrize("family", FAMILIES)
def test_closed_networks_are_freed_and_loaded_anew_when_they_are_called(
    family, tiny_networks, cache
):
    expert = load(family, spec_of(family, tiny_networks), cache=cache)
    decoder, x_t = decoder_of(tiny_networks, cache), sample(family=family)
    expert.load()
    decoder.load()
    before = expert.condition("a heart")(x_t, T).clean
    modules = [weakref.ref(module) for module in cache.modules.values()]
    assert len(modules) == 3
    cache.close()
    gc.collect()
    assert [reference() for reference in modules] == [None] * 3
    assert torch.equal(expert.condition("a heart")(x_t, T).clean, before)


@pytest.mark.parametrize("role", ["control", "spatial", "temporal"])
def test_a_check_lets_each_network_go_before_it_loads_the_next(role, monkeypatch):
    loaded = []
    collecting = NetworkCache._collecting

    def watched(cache, make):
        made = collecting(cache, make)
        if isinstance(made, nn.Module):
            gc.collect()
            assert not any(reference() for reference in loaded)
            loaded.append(weakref.ref(made))
        return made

    monkeypatch.setattr(NetworkCache, "_collecting", watched)
    spec = sharing_vaes(settings_with([]).experts.by_role())[role]
    assert list(inspect(role, spec, CPU, torch.float32))
    assert len(loaded) == (4 if role == "spatial" else 2)  # which brings VAE and preview decoder


def test_leaving_the_block_closes_the_cache(tiny_networks):
    with NetworkCache() as cache:
        load("modelscope", spec_of("modelscope", tiny_networks), cache=cache).load()
        assert cache.modules
    assert not cache.modules and not cache.on_device


def test_a_loaded_set_is_closed_with_its_block():
    with load_set("tiny", "scheduler.structure.num_inference_steps=1") as confiner:
        assert set(confiner.networks.on_device.values()) >= {
            "control",
            "spatial",
            "temporal",
            "vae",
        }
    assert not confiner.networks.modules
    assert confiner.generate("a red heart", seed=1, num_frames=1).frames.shape[0] == 1


def test_two_owners_share_no_network(tiny_networks):
    one, other = NetworkCache(), NetworkCache()
    for cache in (one, other):
        load("modelscope", spec_of("modelscope", tiny_networks), cache=cache).load()
    assert one.modules.keys() == other.modules.keys()
    assert not set(map(id, one.modules.values())) & set(map(id, other.modules.values()))


def text_network(expert):
    """The handle of a text encoder's network: CLIP's encoder is one, UMT5's has one."""
    encoder = expert.text.encoder
    return getattr(encoder, "network", encoder)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_expert_handed_to_another_process_loads_its_own_networks(family, tiny_networks, cache):
    expert = load(family, spec_of(family, tiny_networks), cache=cache)
    expert.load()
    copy = pickle.loads(pickle.dumps(expert))
    theirs = copy.network.unet.cache
    assert theirs is text_network(copy).cache
    assert theirs is not cache and not theirs.modules
    guided, x_t = GuidanceOptions(2.0), sample(family=family)
    answers = [one.condition("a heart", "a star", guided)(x_t, T) for one in (expert, copy)]
    assert torch.equal(answers[0].clean, answers[1].clean)
    assert len(theirs.modules) == 2


def counted(call, names, name):
    def counting(*arguments, **options):
        names.append(name)
        return call(*arguments, **options)

    return counting


def test_files_that_did_not_change_are_read_once_by_an_owner(tiny_networks, cache, monkeypatch):
    read = []
    original = text_loading.read_tokenizer
    monkeypatch.setattr(text_loading, "read_tokenizer", counted(original, read, "tokenizer"))
    for _ in range(2):
        load("modelscope", spec_of("modelscope", tiny_networks), cache=cache)
    assert read == ["tokenizer"]


def loggers():
    return [
        (logger.level, list(logger.handlers), logger.propagate)
        for logger in map(logging.getLogger, ("diffusers", "peft"))
    ]


def test_what_libraries_say_while_they_load_is_kept_and_not_printed(
    tiny_networks, cache, monkeypatch, capfd
):
    family = family_named("modelscope")
    real = family.load

    def talking(components):
        logging.getLogger("diffusers.models").warning("mind the %s", "gap")
        logging.getLogger("peft.x").warning("and the step")
        return real(components)

    monkeypatch.setattr(family, "load", talking)
    before = loggers()
    load("modelscope", spec_of("modelscope", tiny_networks), cache=cache).load()
    assert cache.messages == ["mind the gap", "and the step"]
    assert capfd.readouterr() == ("", "")
    assert loggers() == before


def test_afterwards_libraries_talk_as_before():
    before = loggers()
    with pytest.raises(ZeroDivisionError), collected():
        raise ZeroDivisionError
    assert loggers() == before

"""Memory settings: the same video whatever stays on the device, and the one that fits is chosen."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from support import pipelines
from torch import nn

from confiner_cli.config.resolve import resolve
from confiner_cli.costs.memory import peak_bytes, policy_of
from confiner_cli.errors import named_error
from confiner_cli.experts.offload import MAX_CACHED, POLICIES, NetworkCache
from confiner_cli.experts.vae import Decoder
from confiner_cli.runs.loaded_pipeline import load_pipeline
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.provenance import settings_of_words

CPU = torch.device("cpu")
GB = 10**9


def job_of(*words: str):
    return resolve(settings_of_words(["prompt=a red heart", "seed=3", *words]))


def latents(*words: str):
    """The refined latents, the frames and what they cost."""
    loaded, meter = load_pipeline([job_of("num_frames=5", *words)], NetworkCache()), Meter()
    result = pipelines.latents(loaded.pipeline, meter)
    return result, list(loaded.decoder(result)), meter


@pytest.fixture(scope="module")
def high():
    return latents("memory=high")


def test_balanced_is_high_bit_for_bit(high):
    result, frames, meter = latents("memory=balanced")
    assert torch.equal(result, high[0])
    assert all(torch.equal(a, b) for a, b in zip(frames, high[1], strict=True))
    assert meter.passes == high[2].passes


def test_low_is_high_but_for_the_last_bits_and_counts_the_same_passes(high):
    result, frames, meter = latents("memory=low")
    assert 0 < (result - high[0]).abs().max() < 1e-4 * high[0].std()
    assert (
        max(int((a.int() - b.int()).abs().max()) for a, b in zip(frames, high[1], strict=True)) <= 1
    )
    assert (meter.evaluations, meter.passes) == (high[2].evaluations, high[2].passes)


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.thorough), 7])
def test_spatial_frames_in_batches_are_the_same_frames(count, high):
    result, _, _ = latents("memory=high", f"frame_batch={count}")
    assert (result - high[0]).abs().max() < 1e-4 * high[0].std()


class Traveller(nn.Module):
    """A network that writes down where it is sent."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.name, self.log = name, log

    def to(self, device):
        self.log.append(f"{self.name} to {device}")
        return self


@pytest.mark.parametrize(
    ("memory", "moves"),
    [
        ("high", []),
        ("balanced", ["control to cpu", "control to gpu", "spatial to cpu", "temporal to cpu"]),
        (
            "low",
            [
                "control to cpu",
                "spatial to cpu",
                "temporal to cpu",
                "spatial to gpu",
                "spatial to cpu",
                "vae to cpu",
            ],
        ),
    ],
)
def test_who_leaves_when_another_is_called(memory, moves):
    log: list[str] = []
    home = NetworkCache()
    for role in ("control", "spatial", "temporal", "spatial", "vae", "control"):
        home.get(role, role, "gpu", POLICIES[memory], lambda role=role: Traveller(role, log))
    assert sorted(log) == sorted(moves if memory != "low" else [*moves, "control to gpu"])


def test_one_network_a_role_is_on_the_device():
    log: list[str] = []
    home = NetworkCache()
    for key in ("one", "other", "one"):
        home.get(key, "control", "gpu", POLICIES["high"], lambda key=key: Traveller(key, log))
    assert log == ["one to cpu", "other to cpu", "one to gpu"]
    for key in ("one text", "other text"):
        home.get(key, "text", "gpu", POLICIES["high"], lambda key=key: Traveller(key, log))
    assert len(log) == 3


def test_networks_called_long_ago_are_let_go():
    home = NetworkCache()
    for key in range(MAX_CACHED + 3):
        home.get(key, str(key), "gpu", POLICIES["high"], lambda: Traveller("", []))
    assert list(home.modules) == list(range(3, MAX_CACHED + 3)) == list(home.on_device)


@pytest.mark.parametrize("experts", ["lavie_sd", "modelscope_sd"])
def test_lower_settings_need_less_and_auto_takes_the_first_that_fits(experts):
    chosen = job_of(f"experts={experts}")
    high, balanced, low = (peak_bytes(chosen, name) for name in POLICIES)
    assert high > balanced > low > 2 * GB
    assert policy_of(chosen, None).name == "high"
    for free, name in (
        (high + 1, "high"),
        (high - 1, "balanced"),
        (balanced - 1, "low"),
        (GB, "low"),
    ):
        assert policy_of(chosen, int(free)).name == name
    assert policy_of(job_of(f"experts={experts}", "memory=low"), 80 * GB).name == "low"


def test_without_known_costs_auto_is_high():
    chosen = job_of("experts=lavie_sd", "experts.temporal.architecture=null")
    assert peak_bytes(chosen, "low") is None and policy_of(chosen, GB).name == "high"


def test_a_vae_that_overflows_in_16_bits_decodes_in_32():
    whole = load_pipeline([job_of("num_frames=1")], NetworkCache()).decoder
    vae = whole.vae()
    wide = [frame.clone() for frame in whole(torch.ones(1, 4, 1, 8, 8))]
    narrow = copy.deepcopy(vae).to(torch.float16)
    with torch.no_grad():  # what a norm takes back, but not in 16 bits
        narrow.decoder.conv_in.weight.mul_(30_000)
        narrow.decoder.conv_in.bias.mul_(30_000)
    handle = replace(whole.vae, key="narrow", load=lambda: narrow)
    chosen: Decoder = replace(whole, vae=handle)
    latents = torch.full((1, 4, 1, 8, 8), 50.0)
    assert not torch.isfinite(narrow.decode(latents[:, :, 0].half() / 0.18).sample).all()
    (frame,) = chosen(latents)
    assert narrow.dtype == torch.float16 and frame.shape == wide[0].shape
    assert frame.float().std() > 0


def test_out_of_memory_names_the_stage_and_the_next_lower_setting():
    error = torch.OutOfMemoryError("CUDA out of memory")
    for memory, cure in (
        ("high", "memory=balanced"),
        ("balanced", "memory=low"),
        ("low", "num_frames="),
    ):
        named = named_error(error, "refinement", memory)
        assert "refinement" in str(named) and cure in named.hint
        assert named.exit_code == 2

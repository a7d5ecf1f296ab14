"""What Wan's networks cost, by the table, is what torch counts in them, at full size."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from confiner_cli.costs.table import companions, costs
from count_costs import count
from counting.networks import WANS, subject
from counting.subject import Subject

TOLERANCE = 0.01
LARGEST = (81, 480, 832)
"""What Wan 2.1's smaller network was published for."""


@functools.cache
def network(name: str) -> Subject:
    return subject(name)


def counted(module: nn.Module, *inputs: torch.Tensor) -> int:
    """Operations of a pass as torch alone counts them, attention taken apart."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("wan21_1_3b", LARGEST),
        *(
            pytest.param(name, size, marks=pytest.mark.thorough)
            for name, sizes in {
                "wan21_1_3b": ((1, 256, 256), (9, 256, 256), (17, 320, 512), (121, 720, 1280)),
                "wan21_14b": ((9, 256, 256), LARGEST),
            }.items()
            for size in sizes
        ),
    ],
)
def test_a_transformer_costs_what_torch_counts_in_it(name, size):
    watched = network(name)
    flops = counted(watched.module, *watched.inputs(size))
    assert costs()[name].flops(*size) == pytest.approx(flops, rel=TOLERANCE)


@pytest.mark.parametrize(
    "size",
    [
        (1, 256, 256), (9, 256, 256), pytest.param((17, 320, 512), marks=pytest.mark.thorough),
        pytest.param(LARGEST, marks=pytest.mark.thorough),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["wan21_vae", "wan21_vae_encoder"])
def test_a_vae_costs_what_torch_counts_in_diffusers_own_coding(name, size):
    watched = network(name)
    flops = counted(CODING[name](watched.module), *watched.inputs(size))
    assert costs()[name].flops(*size) == pytest.approx(flops, rel=TOLERANCE)


class Decoding(nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, latents):
        return self.vae.decode(latents).sample


class Encoding(Decoding):
    def forward(self, pixels):
        return self.vae.encode(pixels).latent_dist.mode()


CODING = {"wan21_vae": Decoding, "wan21_vae_encoder": Encoding}


def test_a_text_encoder_costs_what_torch_counts_in_it():
    watched = network("wan_text")
    flops = counted(watched.module, *watched.inputs(LARGEST))
    assert costs()["wan_text"].flops(*LARGEST) == pytest.approx(flops, rel=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("wan21_1_3b", (5, 384, 448)),
        ("wan21_vae", (9, 192, 192)),
        ("wan21_vae_encoder", (9, 192, 192)),
    ],
)
def test_the_table_says_of_a_wan_network_what_it_holds(name, size):
    _, live = count(network(name), size)
    assert costs()[name].activation_bytes(*size) == pytest.approx(live, rel=TOLERANCE)


def test_a_video_that_is_decoded_in_turn_takes_no_more_memory_the_longer_it_is():
    vae = costs()["wan21_vae"]
    short, long = (vae.activation_bytes(frames, 480, 832) for frames in (9, 801))
    assert short < long < 1.02 * short
    assert vae.flops(801, 480, 832) > 50 * vae.flops(9, 480, 832)


def test_the_first_frame_is_a_latent_frame_and_so_is_each_four_after_it():
    wan, plain = costs()["wan21_1_3b"], costs()["sd15"]
    frames = (1, 2, 5, 6, 81, 82)
    assert [wan.own_frames(count) for count in frames] == [1, 2, 2, 3, 21, 22]
    assert [plain.own_frames(count) for count in (0, *frames)] == [0, *frames]
    assert wan.flops(78, 256, 256) == wan.flops(81, 256, 256) < wan.flops(82, 256, 256)


@pytest.mark.parametrize("name", WANS)
def test_a_wan_network_works_with_wans_text_encoder_and_vae(name):
    assert companions(name) == ("wan_text", "wan21_vae")
    assert set(companions(name)) <= set(costs())

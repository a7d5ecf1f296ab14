"""What a network costs, by the table, is what is counted in it."""

from __future__ import annotations

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import count_costs
from confiner_cli.costs.table import TABLE, costs, encoder_of
from counting.networks import NAMES, VAES, subject

PUBLISHED = {
    ("sd15", 1, 512, 512): 803.3, ("sd15", 16, 256, 256): 2881.7,
    ("sd15", 16, 320, 512): 7591.4, ("sd15", 16, 512, 512): 12852.4,
    ("animatediff", 16, 320, 512): 10651.7, ("animatediff", 16, 512, 512): 17748.9,
    ("modelscope", 16, 256, 256): 4887.1, ("modelscope", 16, 320, 512): 12581.4,
    ("modelscope", 16, 512, 512): 20826.9,
    ("lavie", 16, 256, 256): 3088.5, ("lavie", 16, 320, 512): 8109.7,
    ("lavie", 16, 512, 512): 13682.1,
}  # fmt: skip
"""GFLOP of a forward pass (a multiply-add is two), counted in the published models, not by us."""
TINY = [name for name in costs() if name.startswith("tiny_")]
HELD_OUT = (5, 192, 64)


@pytest.mark.parametrize(("name", "num_frames", "height", "width"), PUBLISHED)
def test_full_size_networks_cost_what_was_counted_in_the_published_ones(
    name, num_frames, height, width
):
    found = costs()[name].flops(num_frames, height, width) / 1e9
    assert found == pytest.approx(PUBLISHED[name, num_frames, height, width], rel=1e-4)


@pytest.mark.parametrize("name", TINY)
def test_the_table_says_of_the_embedded_networks_what_a_count_says(name):
    watched, cost = subject(name), costs()[name]
    flops, live = count_costs.count(watched, HELD_OUT)
    assert cost.parameters == watched.parameters
    assert cost.flops(*HELD_OUT) == pytest.approx(flops, rel=1e-5)
    assert cost.activation_bytes(*HELD_OUT) == pytest.approx(live, rel=1e-4)


def test_fused_attention_costs_the_operations_that_torch_counts_without_it():
    watched = subject("tiny_control")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        watched.forward(*watched.inputs(HELD_OUT))
    assert costs()["tiny_control"].flops(*HELD_OUT) == pytest.approx(
        counter.get_total_flops(), rel=1e-5
    )


def test_an_encoder_costs_what_torch_counts_in_the_published_one():
    watched = subject("sd15_vae_encoder")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        watched.forward(*watched.inputs(HELD_OUT))
    assert costs()["sd15_vae_encoder"].flops(*HELD_OUT) == pytest.approx(
        counter.get_total_flops(), rel=1e-5
    )


@pytest.mark.parametrize("vae", VAES)
def test_an_encoder_takes_less_than_the_decoder_which_every_run_asks_too(vae):
    """So `costs.memory` asks the decoder alone."""
    decoder, encoder = costs()[vae], costs()[encoder_of(vae)]
    assert encoder.parameters == decoder.parameters
    for size in ((1, 64, 64), (16, 512, 512), (121, 720, 1280)):
        assert encoder.activation_bytes(*size) < decoder.activation_bytes(*size)
        assert encoder.flops(*size) < decoder.flops(*size)


def test_memory_is_that_of_the_tensors_that_are_alive_together():
    weight, x = (torch.empty(1000, dtype=torch.float16, device="meta") for _ in range(2))
    with count_costs.Live([x], [weight]) as live:
        y = x + weight  # 2 of 2,000 bytes
        view = y[:10]
        z = y * 2  # 3
        del y
        assert live.now == live.peak == 6000  # the view keeps its base
        del view, z
        assert live.now == 2000
        weight.mul_(2)
    assert (live.now, live.peak) == (2000, 6000)


def test_the_tables_file_is_what_the_script_writes_of_it():
    table = json.loads(TABLE.read_text(encoding="utf-8"))["networks"]
    assert count_costs.text_of(table) == TABLE.read_text(encoding="utf-8")
    assert set(table) == set(NAMES) == set(costs())
    assert all(error < 1e-3 for entry in table.values() for error in entry["residual"].values())

"""Two experts' estimates made into one, and noise that all frames share."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from support.pipelines import pipeline_of
from support.toy_experts import Networked, tanh_network

from confiner_cli.method.blending import RADIUS, averaged, frequency_split, temporal_lowpass
from confiner_cli.method.estimate import Estimate
from confiner_cli.method.noise import keyed_noise
from confiner_cli.method.options import RefinementOptions
from confiner_cli.method.refinement import refine, refinement_visits
from confiner_cli.method.schedule import linear, scaled_linear
from confiner_cli.method.walk import Evaluation, Visit, walk

PERIOD = 2 * RADIUS + 1
BLENDS = {
    "averaged": averaged,
    "slow_from_last": partial(frequency_split, slow_from_last=True),
    "slow_from_first": partial(frequency_split, slow_from_last=False),
}


def noise(key, frames=16):
    return keyed_noise((1, 4, frames, 8, 8), key, "blending").double()


def two_evaluations(networks):
    """What networks say of one sample at one level, as a walk would have asked them."""
    x_t, history = noise(0), []
    for role, network in zip(("spatial", "temporal"), networks, strict=True):
        visit = Visit(role, Networked(linear(), "v_prediction", network), 300)
        history.append(Evaluation(visit, x_t, visit.denoiser(x_t, 300), visit.level))
    return history


@pytest.mark.parametrize("blend", BLENDS.values(), ids=BLENDS)
def test_what_two_estimates_of_a_sample_are_made_into_is_an_estimate_of_it(blend):
    first, last = history = two_evaluations([tanh_network, lambda x, t: torch.sin(x)])
    found = blend(history)
    assert torch.allclose(last.level.mix(found.clean, found.noise), last.x_t)
    for own in (first, last):
        assert not torch.allclose(found.clean, own.estimate.clean)


@pytest.mark.parametrize("blend", BLENDS.values(), ids=BLENDS)
def test_an_estimate_blended_with_itself_stays(blend):
    history = two_evaluations([tanh_network, tanh_network])
    assert torch.allclose(blend(history).clean, history[-1].estimate.clean)


def test_what_stays_is_the_slow_experts_and_what_comes_back_within_the_radius_the_fast_ones():
    still = torch.ones(1, 1, 21, 1, 1, dtype=torch.float64)
    turns = 2 * math.pi * torch.arange(21, dtype=torch.float64) / PERIOD
    wave = torch.sin(turns).view(1, 1, -1, 1, 1)
    inside = slice(RADIUS, 21 - RADIUS)
    estimates = Estimate(2 * still + 3 * wave, still), Estimate(5 * still + 7 * wave, still)
    history = [
        replace(evaluation, estimate=estimate)
        for evaluation, estimate in zip(two_evaluations([tanh_network] * 2), estimates, strict=True)
    ]
    found = frequency_split(history, slow_from_last=True).clean
    assert torch.allclose(found[:, :, inside], (5 * still + 3 * wave)[:, :, inside])
    found = frequency_split(history, slow_from_last=False).clean
    assert torch.allclose(found[:, :, inside], (2 * still + 7 * wave)[:, :, inside])
    assert torch.allclose(temporal_lowpass(still), still)


@pytest.mark.parametrize("pattern", ["averaged", "slow_from_temporal", "slow_from_spatial"])
def test_two_equal_experts_share_a_step_as_one_alone_takes_it(pattern):
    expert = Networked(scaled_linear(), "v_prediction")
    ends = [
        list(
            refine(
                noise(1),
                refinement_visits(RefinementOptions((name,) * 3, te=300), expert, expert),
                lambda visit: noise(10 + visit),
            )
        )[-1].x_t
        for name in (pattern, "standard")
    ]
    assert torch.allclose(*ends)


def test_the_first_visit_has_nothing_to_blend_with():
    expert = Networked(linear())
    with pytest.raises(ValueError, match="first visit"):
        list(walk(noise(1), [Visit("spatial", expert, 300, solve=averaged)]))


def test_shared_noise_is_one_for_all_frames_of_the_spatial_expert_and_never_for_the_temporal_one():
    pipeline = pipeline_of(refinement=RefinementOptions(frame_noise="shared"), num_frames=16)
    shared, own = pipeline.renoise(0, 2, "spatial"), pipeline.renoise(0, 2, "temporal")
    assert torch.equal(shared, shared[:, :, :1].expand_as(shared))
    assert torch.equal(own, pipeline_of(num_frames=16).renoise(0, 2, "temporal"))
    assert not torch.equal(shared, pipeline.renoise(0, 3, "spatial"))


def test_windows_of_a_long_video_share_the_shared_noise():
    pipeline = pipeline_of(
        refinement=RefinementOptions(frame_noise="shared"), num_frames=16, segment_frames=4
    )
    assert torch.equal(
        pipeline.renoise(0, 2, "spatial")[:, :, 0], pipeline.renoise(2, 2, "spatial")[:, :, 0]
    )

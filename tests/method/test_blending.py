"""Two experts' estimates made into one, and noise that all frames share."""

import math
from dataclasses import replace

import pytest
import torch
from support.pipelines import pipeline_of
from support.toy_experts import Networked

from confiner_cli.method.blending import (
    RADIUS,
    averaged_estimates,
    split_by_frequency,
    temporal_lowpass,
)
from confiner_cli.method.estimate import Estimate
from confiner_cli.method.options import RefinementOptions
from confiner_cli.method.refinement import refine, refinement_visits
from confiner_cli.method.schedule import linear, scaled_linear
from confiner_cli.method.walk import Visit, walk

PERIOD = 2 * RADIUS + 1
BLENDS = {
    "averaged": averaged_estimates,
    "slow_from_second": lambda first, second: split_by_frequency(
        first, second, slow_from_second=True
    ),
    "slow_from_first": lambda first, second: split_by_frequency(
        first, second, slow_from_second=False
    ),
}


def noise(key, frames=16):
    return torch.randn(
        1, 4, frames, 8, 8, generator=torch.Generator().manual_seed(key), dtype=torch.float64
    )


def two_estimates():
    """What two networks say of one sample at one level."""
    schedule = linear()
    x_t, level = noise(0), schedule.level(300)
    other = Networked(schedule, "v_prediction", lambda x, t: torch.sin(x))
    return x_t, level, Networked(schedule, "v_prediction")(x_t, 300), other(x_t, 300)


@pytest.mark.parametrize("blend", BLENDS.values(), ids=BLENDS)
def test_what_two_estimates_of_a_sample_are_made_into_is_an_estimate_of_it(blend):
    x_t, level, first, second = two_estimates()
    found = blend(first, replace(second, passes=2))
    assert torch.allclose(level.mix(found.clean, found.noise), x_t)
    assert not torch.allclose(found.clean, first.clean) and not torch.allclose(
        found.clean, second.clean
    )
    assert found.passes == 2


@pytest.mark.parametrize("blend", BLENDS.values(), ids=BLENDS)
def test_an_estimate_blended_with_itself_stays(blend):
    _, _, first, _ = two_estimates()
    assert torch.allclose(blend(first, first).clean, first.clean)


def test_what_stays_comes_from_the_slow_expert_and_what_comes_back_within_the_reach_from_the_fast_one():
    still = torch.ones(1, 1, 21, 1, 1, dtype=torch.float64)
    wave = (
        torch.tensor([math.sin(2 * math.pi * frame / PERIOD) for frame in range(21)])
        .double()
        .view(1, 1, -1, 1, 1)
    )
    inside = slice(RADIUS, 21 - RADIUS)
    first, second = Estimate(2 * still + 3 * wave, still), Estimate(5 * still + 7 * wave, still)
    found = split_by_frequency(first, second, slow_from_second=True).clean
    assert torch.allclose(found[:, :, inside], (5 * still + 3 * wave)[:, :, inside])
    found = split_by_frequency(first, second, slow_from_second=False).clean
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
        list(walk(noise(1), [Visit("spatial", expert, 300, blend=averaged_estimates)]))


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

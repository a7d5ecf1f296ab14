"""Structures in steps of one's own: which timesteps, and how much fresh noise on the way."""

from dataclasses import replace

import pytest
import torch
from diffusers import LCMScheduler
from support.pipelines import SCHEDULES, pipeline_of, structures
from support.toy_experts import Networked, tanh_network

from confiner_cli.method.options import LongVideoOptions, StructureOptions
from confiner_cli.method.structure import sample, step_schedule, structure_visits, trailing
from confiner_cli.method.walk import Visit

LISTED = (999.0, 757.0, 522.0)
"""FastWan's, on another schedule."""


def latents_of(structure, **others):
    return torch.stack([each.latents for each in structures(pipeline_of(structure, **others))])


def test_steps_at_the_timesteps_of_a_spacing_are_those_of_the_spacing():
    own = trailing(SCHEDULES["control"], 5)
    spaced = StructureOptions(num_inference_steps=5)
    listed = replace(spaced, timesteps=own.timesteps)
    assert step_schedule(listed, SCHEDULES["control"]) == own
    assert torch.equal(latents_of(listed), latents_of(spaced))


def test_the_experts_are_asked_at_the_timesteps_that_are_listed():
    expert = Networked(SCHEDULES["control"], "v_prediction")
    options = StructureOptions(num_inference_steps=3, timesteps=LISTED, renoise=0.5)
    visits = structure_visits(options, expert)
    assert visits == [Visit("control", expert, t, 0.5) for t in LISTED]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_steps_from_fresh_noise_are_diffusers_sampling_of_consistency_models(prediction_type):
    expert = Networked(SCHEDULES["control"], prediction_type)
    options = StructureOptions(num_inference_steps=3, timesteps=LISTED, renoise=1.0)
    noise = torch.randn(1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    own, their = (torch.Generator().manual_seed(1) for _ in range(2))
    steps = replace(step_schedule(options, expert.schedule), init_noise_sigma=1.0)
    visits = structure_visits(options, expert)
    *_, last = sample(noise, visits, steps, lambda _: torch.randn(noise.shape, generator=own))

    scheduler = LCMScheduler(
        beta_schedule="linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type=prediction_type,
        clip_sample=False,
    )
    scheduler.set_timesteps(timesteps=[int(t) for t in LISTED])
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(tanh_network(x, int(t)), t, x, generator=their).prev_sample
    assert (last.x_t - x).abs().max() < 1e-4 * x.std()


def test_fresh_noise_is_every_structures_own_and_every_seeds():
    fresh = StructureOptions(num_inference_steps=3, renoise=1.0)
    long = {"num_frames": 20, "segment_frames": 8, "overlap": 2}
    alike = {"long_video": LongVideoOptions(shuffle="none"), **long}  # all start from one noise
    first, second, *_ = latents_of(fresh, **alike)
    assert torch.equal(latents_of(fresh, **alike)[0], first)
    assert not torch.allclose(first, second)
    plain = latents_of(replace(fresh, renoise=0.0), **alike)
    assert torch.equal(plain[0], plain[1])
    several = latents_of(fresh, seeds=(7, 8), **alike)
    assert torch.allclose(several[0][:1], first, atol=1e-5)
    assert not torch.allclose(several[0][1:], first, atol=1e-5)

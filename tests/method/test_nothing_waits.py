"""On a GPU a walk is handed over whole: the CPU waits for it once a stage, however long it is."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from support.fake_gpu import CPU, GPU, fake_gpu
from support.pipelines import SCHEDULES, latents, pipeline_of
from support.toy_experts import Networked

from confiner_cli.errors import NotFiniteError
from confiner_cli.method.blending import temporal_lowpass
from confiner_cli.method.guidance import Guided
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.method.noise import keyed_noise
from confiner_cli.method.options import (
    GuidanceOptions,
    LongVideoOptions,
    RefinementOptions,
    StructureOptions,
)
from confiner_cli.method.pipeline import cross_fade
from confiner_cli.method.refinement import PATTERNS
from confiner_cli.method.solvers import SOLVERS
from confiner_cli.method.transfer import onto

LONG = LongVideoOptions(consistency=0.5, coherence=0.2, turn=True)
"""All that a structure hears of the one before it."""


def broken(x, t):
    """Answers with infinity from a timestep down."""
    return torch.tanh(x + t / 1000) / (t > 60)


def guided(role, network=torch.sin):
    """An expert that answers the prompt, and the negative one, in two passes."""
    with_prompt = Networked(SCHEDULES[role], "v_prediction", lambda x, t: network(x + t / 1000))
    without = Networked(SCHEDULES[role], "v_prediction", lambda x, t: torch.tanh(x + t / 1000))
    return Guided(with_prompt, without, GuidanceOptions(2.0))


def two_prompts(steps, pattern="coordinated", solver="ddim", **changes):
    """Three structures and four windows, a prompt that changes inside of one of each."""
    patterns = {"patterns": (pattern,) * steps, "renoise": 0.7, "solver": solver}
    pipeline = pipeline_of(
        StructureOptions(num_inference_steps=steps, solver=solver),
        RefinementOptions(**patterns),
        **({"long_video": LONG, "num_frames": 11, "segment_frames": 4, "overlap": 2} | changes),
    )
    denoisers = {}
    for role in SCHEDULES:
        denoisers[role] = {0: guided(role), 5: guided(role, torch.cos)}
    return replace(pipeline, denoisers=denoisers)


def sampled(pipeline):
    """Its latents made there, on the CPU, and the notes of what happened meanwhile."""
    with fake_gpu() as gpu:
        found = latents(replace(pipeline, device=GPU))
        return found.numbers, gpu.notes


def waits(pipeline):
    """What the CPU waits for, by kind."""
    _, notes = sampled(pipeline)
    return Counter(note.what for note in notes if note.waits)


def some(names, *quick):
    """All of them; those that are not named here are thorough tests."""
    return [
        pytest.param(name, marks=[] if name in quick else [pytest.mark.thorough]) for name in names
    ]


def assert_waits_once_a_stage(pattern, solver):
    stages, turning = 3 + 4, 1  # whether a structure turns is read off the one before it
    few, many = (waits(two_prompts(steps, pattern, solver)) for steps in (3, 5))
    assert few == many == {"to cpu": stages + turning}


@pytest.mark.parametrize("pattern", some(PATTERNS, "coordinated", "slow_from_spatial"))
def test_the_cpu_waits_once_a_stage_however_many_steps_it_has(pattern):
    assert_waits_once_a_stage(pattern, "ddim")


@pytest.mark.parametrize("solver", some(SOLVERS, "unipc"))
def test_the_cpu_waits_once_a_stage_whatever_solves_the_steps(solver):
    assert_waits_once_a_stage("standard", solver)


def test_what_is_sampled_there_is_what_is_sampled_here():
    pipeline = two_prompts(3, "slow_from_temporal", solver="unipc", seeds=(3, 4))
    found, _ = sampled(pipeline)
    assert torch.equal(found, latents(pipeline))


def test_noise_comes_from_pinned_memory_while_the_device_computes():
    steps, stages = 2, 3 + 4
    _, notes = sampled(two_prompts(steps))
    # Of a stage its first noise, and before each of the other visits that is renoised another.
    kinds = [note.what for note in notes]
    assert not any(note.waits for note in notes if note.what == "to gpu")
    assert kinds.count("to gpu") >= stages + 4 * 2 * steps


@pytest.mark.parametrize(("role", "t", "number"), [("spatial", 60, 4), ("temporal", 60, 5)])
def test_the_evaluation_that_failed_is_named_after_the_stage(role, t, number):
    denoisers = {each: {0: guided(each)} for each in SCHEDULES}
    denoisers[role] = {0: Networked(SCHEDULES[role], "v_prediction", broken)}
    pipeline = replace(two_prompts(5), denoisers=denoisers)
    told = f"{role} expert's estimate at timestep {t} .* refinement, evaluation {number + 3}"
    for device in (CPU, GPU):
        with fake_gpu(), pytest.raises(NotFiniteError, match=told):
            latents(replace(pipeline, device=device))


def test_the_cpu_stops_at_the_evaluation_that_failed():
    asked = []

    def network(x, t):
        asked.append(t)
        return broken(x, t)

    structure = Networked(SCHEDULES["control"], "v_prediction", network)
    pipeline = pipeline_of(StructureOptions(num_inference_steps=20), control=structure)
    with pytest.raises(NotFiniteError, match=r"timestep 49 .* structure, evaluation 20"):
        latents(pipeline)
    assert len(asked) == 20


def test_windows_are_cross_faded_where_they_are():
    timeline = Timeline(11, 4, overlap=2)
    before, refined = (keyed_noise((1, 4, 5, 2, 2), key, "fade") for key in (1, 2))
    with fake_gpu() as gpu:
        found = cross_fade(timeline, 1, onto(refined, GPU), onto(before, GPU))
        assert not gpu.waits()
    assert torch.equal(found.numbers, cross_fade(timeline, 1, refined, before))


def test_the_means_over_neighbours_are_exact_shares():
    ones = torch.ones(1, 1, 9, 1, 1)
    assert torch.equal(temporal_lowpass(ones), ones)

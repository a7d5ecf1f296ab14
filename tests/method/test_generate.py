from dataclasses import dataclass, replace

import pytest
import torch
from support.pipelines import CONFINER_9, SCHEDULES, latents, plain, plan_of
from support.toy_experts import Networked

from confiner_cli.config.schema import (
    RefinementSettings,
    SchedulerSettings,
    StructureSettings,
)
from confiner_cli.errors import NotFiniteError
from confiner_cli.method.guidance import Guided
from confiner_cli.method.pipeline import refined, structures
from confiner_cli.method.refinement import PATTERNS
from confiner_cli.runs.meter import Meter


@dataclass(frozen=True, eq=False)
class Broken(Networked):
    """Answers with NaN below a timestep."""

    below: int = 0

    def __call__(self, x_t, t):
        return super().__call__(x_t * float("nan") if t < self.below else x_t, t)


def test_the_seed_decides_every_bit():
    first = latents(plan_of(seed=7))
    assert torch.equal(latents(plan_of(seed=7)), first)
    assert (latents(plan_of(seed=8)) - first).abs().mean() > 0.1


def test_noise_is_keyed_by_seed_purpose_visit_and_the_videos_frame():
    plan, other = plan_of(num_frames=16), plan_of(num_frames=16, seed=8)
    drawn = [
        plan.initial_noise(0), other.initial_noise(0),
        plan.hop_noise(0, 0, "spatial"), plan.hop_noise(0, 1, "temporal"), other.hop_noise(0, 0, "spatial"),
    ]  # fmt: skip
    frames = torch.cat([noise[0].transpose(0, 1).flatten(1) for noise in drawn])
    correlations = torch.corrcoef(frames).triu(diagonal=1).abs()
    assert correlations.max() < 6 / frames.shape[1] ** 0.5
    parts = plan_of(num_frames=16, segment_frames=4)
    assert torch.equal(parts.hop_noise(1, 1, "spatial"), plan.hop_noise(0, 1, "spatial")[:, :, 2:6])


@pytest.mark.parametrize("num_frames", [1, 5, 16])
def test_a_video_has_its_frames_in_its_shape(num_frames):
    assert latents(plan_of(num_frames=num_frames)).shape == (1, 4, num_frames, 8, 8)


def test_latents_stream_window_by_window():
    plan, stages = plan_of(num_frames=9, segment_frames=4), []

    def watch(stage, steps, total):
        stages.append(stage)
        assert total == {"structure": 4, "refinement": 15}[stage]
        return steps

    widths = []
    for window in refined(plan, structures(plan, watch), watch):
        widths.append(window.shape[2])
        assert (stages.count("structure"), stages.count("refinement")) == (len(widths), len(widths))
    assert widths == [2, 4, 3]


def test_refinement_of_no_steps_leaves_the_structure_as_it_is():
    plan = plan_of(
        SchedulerSettings(name="alone", refinement=RefinementSettings(num_inference_steps=0))
    )
    (structure,) = structures(plan, plain)
    assert torch.equal(latents(plan), structure.latents)


@pytest.mark.parametrize(
    ("role", "below", "timestep"),
    [("control", 600, 499), ("spatial", 50, 40), ("temporal", 90, 80)],
)
def test_nan_from_an_expert_is_named_with_its_timestep(role, below, timestep):
    plan = plan_of(**{role: Broken(SCHEDULES[role], below=below)})
    with pytest.raises(
        NotFiniteError, match=f"the {role} expert's estimate at timestep {timestep} is not finite"
    ):
        latents(plan)


@pytest.mark.parametrize(
    ("structure_steps", "steps"), [(4, 5), (8, 10)], ids=["confiner_9", "confiner_18"]
)
def test_evaluations_and_passes_are_counted_by_role(structure_steps, steps):
    scheduler = SchedulerSettings(
        name="counted",
        structure=StructureSettings(num_inference_steps=structure_steps),
        refinement=RefinementSettings(num_inference_steps=steps),
    )
    spatial = Networked(SCHEDULES["spatial"], "v_prediction")
    meter = Meter()
    latents(plan_of(scheduler, spatial=Guided(spatial, spatial, scale=2.0)), meter)
    assert meter.evaluations == {
        "control": structure_steps,
        "spatial": 2 * steps,
        "temporal": steps,
    }
    assert meter.passes == {"control": structure_steps, "spatial": 4 * steps, "temporal": steps}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_settings_choose_the_pattern(pattern):
    chosen = RefinementSettings(pattern=pattern, num_inference_steps=4)
    one_by_one = replace(chosen, pattern=[pattern] * 4)
    other = replace(chosen, pattern="standard" if pattern != "standard" else "spatial_only")
    made = [
        latents(plan_of(replace(CONFINER_9, refinement=settings)))
        for settings in (chosen, one_by_one, other)
    ]
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2]) == (pattern in ("standard", "spatial_only"))


@pytest.mark.parametrize(
    "change", [{"hop_noise": "predicted"}, {"hop_noise": 0.5}, {"timestep_matching": "snr"}]
)
def test_the_settings_choose_how_the_sample_crosses(change):
    changed = replace(CONFINER_9, refinement=replace(CONFINER_9.refinement, **change))
    assert (latents(plan_of(changed)) - latents(plan_of())).abs().mean() > 1e-4


def test_hop_noise_by_name_is_the_number():
    for name, number in (("fresh", 1.0), ("predicted", 0.0)):
        made = [
            latents(
                plan_of(
                    replace(CONFINER_9, refinement=replace(CONFINER_9.refinement, hop_noise=hop))
                )
            )
            for hop in (name, number)
        ]
        assert torch.equal(*made)


@pytest.mark.parametrize("scale", [0.0, 1.5, 7.5])
def test_a_guided_estimate_is_unconditional_plus_scale_times_the_difference(scale):
    conditional = Networked(SCHEDULES["spatial"], "v_prediction")
    unconditional = Networked(SCHEDULES["spatial"], "v_prediction", lambda x, t: torch.sin(x))
    x_t = torch.randn(
        1, 4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    c, u = conditional.network(x_t, 400), unconditional.network(x_t, 400)
    found = Guided(conditional, unconditional, scale)(x_t, 400)
    expected = Networked(SCHEDULES["spatial"], "v_prediction", lambda x, t: u + scale * (c - u))(
        x_t, 400
    )
    assert torch.allclose(found.clean, expected.clean) and torch.allclose(
        found.noise, expected.noise
    )
    assert found.passes == 2


def test_outside_the_guidance_interval_the_estimate_is_plain_and_costs_one_pass():
    conditional = Networked(SCHEDULES["spatial"], "v_prediction")
    unconditional = Networked(SCHEDULES["spatial"], "v_prediction", lambda x, t: torch.sin(x))
    x_t = torch.randn(1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    low, high = (SCHEDULES["spatial"].level(t).noise for t in (200, 700))
    guided = Guided(conditional, unconditional, 2.0, low, high)
    for t, passes in ((199, 1), (200, 2), (450, 2), (700, 2), (701, 1)):
        found = guided(x_t, t)
        assert found.passes == passes
        assert torch.equal(found.clean, conditional(x_t, t).clean) == (passes == 1)


def test_guidance_is_read_on_another_schedule_in_both_its_halves():
    schedule = SCHEDULES["temporal"]
    one, other = (
        Networked(schedule, "v_prediction"),
        Networked(schedule, "v_prediction", lambda x, t: torch.sin(x)),
    )
    x_t = torch.randn(1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    moved = Guided(one, other, 2.0).read_on(SCHEDULES["spatial"])
    apart = Guided(one.read_on(SCHEDULES["spatial"]), other.read_on(SCHEDULES["spatial"]), 2.0)
    assert moved.schedule is SCHEDULES["spatial"]
    assert torch.equal(moved(x_t, 300).clean, apart(x_t, 300).clean)

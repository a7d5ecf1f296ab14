from dataclasses import dataclass

import pytest
import torch
from support.pipelines import SCHEDULES, latents, pipeline_of, refined, structures
from support.toy_experts import Networked

from confiner_cli.errors import NotFiniteError
from confiner_cli.method.guidance import Guided
from confiner_cli.method.options import GuidanceOptions, RefinementOptions, StructureOptions
from confiner_cli.method.refinement import PATTERNS
from confiner_cli.runs.meter import Meter


@dataclass(frozen=True, eq=False)
class Broken(Networked):
    """Answers with NaN below a timestep."""

    below: int = 0

    def __call__(self, x_t, t):
        return super().__call__(x_t * float("nan") if t < self.below else x_t, t)


def test_the_seed_decides_every_bit():
    first = latents(pipeline_of(seeds=(7,)))
    assert torch.equal(latents(pipeline_of(seeds=(7,))), first)
    assert (latents(pipeline_of(seeds=(8,))) - first).abs().mean() > 0.1


def test_noise_is_keyed_by_seed_purpose_visit_and_the_videos_frame():
    pipeline, other = pipeline_of(num_frames=16), pipeline_of(num_frames=16, seeds=(8,))
    drawn = [
        pipeline.initial_noise(0),
        other.initial_noise(0),
        pipeline.renoise(0, 0, "spatial"),
        pipeline.renoise(0, 1, "temporal"),
        other.renoise(0, 0, "spatial"),
    ]
    frames = torch.cat([noise[0].transpose(0, 1).flatten(1) for noise in drawn])
    correlations = torch.corrcoef(frames).triu(diagonal=1).abs()
    assert correlations.max() < 6 / frames.shape[1] ** 0.5
    parts = pipeline_of(num_frames=16, segment_frames=4)
    assert torch.equal(parts.renoise(1, 1, "spatial"), pipeline.renoise(0, 1, "spatial")[:, :, 2:6])


@pytest.mark.parametrize("num_frames", [1, 5, 16])
def test_a_video_has_its_frames_in_its_shape(num_frames):
    assert latents(pipeline_of(num_frames=num_frames)).shape == (1, 4, num_frames, 8, 8)


def test_latents_stream_window_by_window():
    pipeline, stages = pipeline_of(num_frames=9, segment_frames=4), []

    def watch(stage, steps, total):
        stages.append(stage)
        assert total == {"structure": 4, "refinement": 15}[stage]
        return steps

    widths = []
    for window in refined(pipeline, watch):
        widths.append(window.shape[2])
        assert (stages.count("structure"), stages.count("refinement")) == (len(widths), len(widths))
    assert widths == [2, 4, 3]


def test_refinement_of_no_steps_leaves_the_structure_as_it_is():
    pipeline = pipeline_of(refinement=RefinementOptions(patterns=()))
    (structure,) = structures(pipeline)
    assert torch.equal(latents(pipeline), structure.latents)


@pytest.mark.parametrize(
    ("role", "below", "timestep"),
    [("control", 600, 499), ("spatial", 50, 40), ("temporal", 90, 80)],
)
def test_nan_from_an_expert_is_named_with_its_timestep(role, below, timestep):
    pipeline = pipeline_of(**{role: Broken(SCHEDULES[role], below=below)})
    with pytest.raises(
        NotFiniteError, match=f"the {role} expert's estimate at timestep {timestep} is not finite"
    ):
        latents(pipeline)


@pytest.mark.parametrize(
    ("structure_steps", "steps"), [(4, 5), (8, 10)], ids=["confiner_9", "confiner_18"]
)
def test_evaluations_and_passes_are_counted_by_role(structure_steps, steps):
    structure = StructureOptions(num_inference_steps=structure_steps)
    refinement = RefinementOptions(patterns=("coordinated",) * steps)
    spatial = Networked(SCHEDULES["spatial"], "v_prediction")
    meter = Meter()
    guided = Guided(spatial, spatial, GuidanceOptions(scale=2.0))
    latents(pipeline_of(structure, refinement, spatial=guided), meter)
    assert meter.evaluations == {
        "control": structure_steps,
        "spatial": 2 * steps,
        "temporal": steps,
    }
    assert meter.passes == {"control": structure_steps, "spatial": 4 * steps, "temporal": steps}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_options_choose_the_pattern(pattern):
    other = "standard" if pattern != "standard" else "spatial_only"
    one, changed = (
        latents(pipeline_of(refinement=RefinementOptions(patterns=(name,) * 4)))
        for name in (pattern, other)
    )
    assert torch.equal(one, changed) == (pattern in ("standard", "spatial_only"))


@pytest.mark.parametrize(
    "change",
    [{"renoise": 0.0}, {"renoise": 0.5}, {"timestep_matching": "snr"}, {"frame_noise": "shared"}],
)
def test_the_options_choose_how_the_sample_crosses(change):
    changed = latents(pipeline_of(refinement=RefinementOptions(**change)))
    assert (changed - latents(pipeline_of())).abs().mean() > 1e-4


@pytest.mark.parametrize("scale", [0.0, 1.5, 7.5])
def test_a_guided_estimate_is_unconditional_plus_scale_times_the_difference(scale):
    conditional = Networked(SCHEDULES["spatial"], "v_prediction")
    unconditional = Networked(SCHEDULES["spatial"], "v_prediction", lambda x, t: torch.sin(x))
    x_t = torch.randn(
        1, 4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    c, u = conditional.network(x_t, 400), unconditional.network(x_t, 400)
    found = Guided(conditional, unconditional, GuidanceOptions(scale))(x_t, 400)
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
    guided = Guided(conditional, unconditional, GuidanceOptions(2.0, low, high))
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
    moved = Guided(one, other, GuidanceOptions(2.0)).read_on(SCHEDULES["spatial"])
    halves = [half.read_on(SCHEDULES["spatial"]) for half in (one, other)]
    apart = Guided(*halves, GuidanceOptions(2.0))
    assert moved.schedule is SCHEDULES["spatial"]
    assert torch.equal(moved(x_t, 300).clean, apart(x_t, 300).clean)

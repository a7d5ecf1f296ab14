"""Experts of today in a config: flow models, roles that are absent, several latent spaces."""

import pytest

from confiner_cli.config.resolve import resolve
from confiner_cli.errors import ConfinerError
from confiner_cli.method.flow import Flow, dynamic_shift
from confiner_cli.method.options import StructureOptions
from confiner_cli.runs.advice import advice
from confiner_cli.runs.provenance import settings_of_words

WAN = ("prompt=x", "experts=wan")
MIXED = ("prompt=x", "experts=tiny", "experts/temporal=wan21_1_3b", "height=64", "width=64")


def job_of(*words):
    return resolve(settings_of_words(words))


def refused(*words):
    with pytest.raises(ConfinerError) as raised:
        job_of(*words)
    return f"{raised.value}\n{raised.value.hint}"


def test_fastwan_drafts_on_the_timesteps_that_it_was_distilled_for():
    expected = StructureOptions("control", 3, "trailing", "ddim", (1000, 757, 522), renoise=1.0)
    assert job_of(*WAN).structure == expected
    typed = "scheduler.structure.timesteps=[1000,900,100]"
    assert job_of(*WAN, typed).structure.timesteps == (1000, 900, 100)
    assert job_of(*WAN, "scheduler.structure.step_noise=predicted").structure.renoise == 0
    assert "distilled for 3 steps" in refused(*WAN, "scheduler.structure.num_inference_steps=4")


def test_without_a_spatial_expert_steps_are_counted_on_the_temporal_ones_schedule():
    job = job_of(*WAN)
    assert job.asked == ("control", "temporal")
    assert job.experts["temporal"].schedule == Flow(3.0, whole=True)
    assert [visit.t for visit in job.refinement_visits] == [250 - 31.25 * n for n in range(8)]
    assert job_of(*WAN, "strength=0.4").refinement_visits[0].t == pytest.approx(400)


def test_a_pattern_that_asks_who_is_absent_is_refused_with_those_that_do_not():
    text = refused(*WAN, "scheduler=confiner_9", "scheduler.structure.num_inference_steps=3")
    assert "pattern=coordinated asks the spatial expert, and experts=wan has none" in text
    assert "temporal_only, self_refine" in text
    assert "experts=wan has no spatial expert" in refused(*WAN, "scheduler=spatial_alone")


def test_one_expert_alone_is_all_that_is_loaded():
    job = job_of(*WAN, "scheduler=temporal_alone")
    assert list(job.experts) == ["temporal"] and job.experts["temporal"].vae
    assert len(job.structure_visits) == 50 and not job.refinement_visits
    mixed = job_of(*MIXED, "scheduler=temporal_alone")
    assert list(mixed.experts) == ["temporal"]
    assert job_of("prompt=x", "experts=wan", "num_frames=1").timeline.length == 1


@pytest.mark.parametrize("num_frames", [1, 2, 16, 17, 80, 81])
def test_any_number_of_frames_is_rounded_up_to_whole_latents_and_cut_at_the_end(num_frames):
    job = job_of(*WAN, f"num_frames={num_frames}")
    assert job.num_frames == num_frames and job.timeline.structure_count == 1
    assert job.timeline.length == -(-(num_frames - 1) // 4) * 4 + 1
    again = job_of(*WAN, f"num_frames={num_frames}", f"long_video.segment_frames={num_frames}")
    assert again.timeline == job.timeline


@pytest.mark.parametrize("num_frames", [82, 200, 600])
def test_segments_of_a_long_video_are_whole_latents_and_windows_fit_the_experts(num_frames):
    timeline = job_of(*WAN, "long_video=confiner_long", f"num_frames={num_frames}").timeline
    assert timeline.length % 4 == 1 and timeline.overlap % 4 == 0
    windows = range(int(timeline.window_count))
    assert max(len(timeline.refines(number)) for number in windows) <= 81


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("height=472",), ("height=472 is not a multiple of 16", "height=480")),
        (("width=8",), ("width=8 is not a multiple of 16", "width=16")),
        (
            ("long_video=confiner_long", "num_frames=200", "long_video.segment_frames=48"),
            ("1 + a multiple of 4 frames", "segment_frames=45 or 49"),
        ),
        (
            ("long_video=confiner_long", "num_frames=200", "long_video.turn=true"),
            ("cannot be played backwards", "long_video.turn=false"),
        ),
        (("experts.spatial.model=x",), ("no expert in its role", "experts/spatial=")),
        (("experts.spatial={family:wan}",), ("no expert in its role", "experts/spatial=")),
        (("experts.temporal.beta_schedule=linear",), ("a flow model has no betas", "=null")),
        (
            ("experts.temporal.base_shift=0.5", "experts.temporal.max_shift=1.15"),
            ("flow_shift= and base_shift= are two shifts", "flow_shift=null"),
        ),
        (("experts.temporal.base_shift=0.5",), ("has one of base_shift= and max_shift= alone",)),
        (
            ("experts.temporal.max_image_seq_len=10",),
            ("not above base_image_seq_len=256", "max_image_seq_len=257"),
        ),
        (("experts.temporal.flow_shift=0",), ("flow_shift=0.0 is out of range",)),
        (("experts.temporal.latent_space=wan2.1",), ("did you mean wan21",)),
        (("experts.control.step_noise=some",), ("fresh, predicted",)),
        (("scheduler.structure.timesteps=[1001,757,522]",), ("takes 0 to 1000",)),
        (("scheduler.refinement.repeats=0",), ("takes 1 to 100",)),
        (("scheduler.refinement.bridge=pixels",), ("residual, replace",)),
        (("scheduler.refinement.pattern=self_refine",), ("remembers the steps before",)),
    ],
    ids=lambda value: " ".join(value)[:50],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(words, expected):
    text = refused(*WAN, *words)
    for part in expected:
        assert part in text


def test_experts_of_two_latent_spaces_meet_at_the_noise_to_signal_ratio_and_that_is_said():
    job = job_of(*MIXED, "scheduler=confiner_9", "num_frames=13")
    assert job.crosses and job.refinement.timestep_matching == "snr"
    levels = [visit.level.sigma for visit in job.refinement_visits]
    for first in range(0, len(levels), 3):
        assert levels[first : first + 3] == pytest.approx([levels[first]] * 3, rel=1e-6)
    assert any("same noise-to-signal ratio" in line for line in advice(job, {}))
    assert job.timeline.length == 13 and job.vae_role("temporal") == "temporal"
    assert (job.draft_role, job.window_roles) == ("control", ("spatial", "spatial"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("scheduler=confiner_9", "scheduler.refinement.hop_noise=0.5"),
            ("hop_noise= is 0.5 of fresh noise", "(tiny and wan21)", "hop_noise=fresh"),
        ),
        (
            ("scheduler=confiner_9", "scheduler.refinement.pattern=averaged"),
            ("pattern=averaged goes over", "no noise crosses", "self_refine, temporal_first,"),
        ),
    ],
)
def test_no_noise_crosses_to_another_latent_space(words, expected):
    text = refused(*MIXED, *words)
    for part in expected:
        assert part in text


def test_a_dynamic_shift_is_that_of_the_number_of_tokens():
    dynamic = ("experts.temporal.base_shift=0.5", "experts.temporal.max_shift=1.15")
    words = (*WAN, "scheduler=temporal_alone", "experts.temporal.flow_shift=null", *dynamic)
    shifts = [job_of(*words, f"num_frames={n}").experts["temporal"].flow_shift for n in (1, 17, 81)]
    assert shifts == sorted(shifts) and len(set(shifts)) == 3
    assert shifts[0] == pytest.approx(dynamic_shift(30 * 52, 0.5, 1.15))


def test_frames_in_batches_are_told_to_be_of_no_use_where_all_are_seen_together():
    alone, together = (
        job_of("prompt=x", *words, "frame_batch=2") for words in (("experts=tiny",), WAN[1:])
    )
    assert not any("frame_batch=" in line for line in advice(alone, {}))
    assert any("frame_batch= has no effect" in line for line in advice(together, {}))
    assert not any("frame_batch=" in line for line in advice(job_of(*WAN), {}))


def test_sets_of_one_family_are_matched_as_they_are_told():
    job = job_of("prompt=x", "experts=tiny", "scheduler=confiner_9")
    assert not job.crosses and job.refinement.timestep_matching == "same"


def test_another_expert_may_bring_the_vae_of_its_space():
    job = job_of(
        "prompt=x", "experts=tiny", "experts.control.vae=true", "experts.spatial.preview=null"
    )
    assert job.vae_role("spatial") == "control"
    assert not job.experts["spatial"].vae

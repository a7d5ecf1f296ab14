"""ConFiner-Long's three strategies, on experts whose answers can be worked out by hand."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from support.pipelines import SCHEDULES, latents, pipeline_of, plain, structures
from support.toy_experts import Knowing, Networked

from confiner_cli.method.long.coherence import Coherent
from confiner_cli.method.long.pingpong import AnchoredDenoiser, continuation
from confiner_cli.method.long.prompt_travel import for_frames
from confiner_cli.method.long.shuffling import frame_order, initial_noise
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.method.options import LongVideoOptions
from confiner_cli.method.pipeline import (
    cross_fade,
    cut_draft,
    refine_window,
    sample_structure,
)
from confiner_cli.method.schedule import from_betas
from confiner_cli.method.structure import trailing

SHAPE = (4, 8, 8)
LONG = {"num_frames": 20, "segment_frames": 8, "overlap": 2}


def noise(segment, consistency=1.0, shuffle="frames", frames=16, seed=7):
    return initial_noise(SHAPE, frames, seed, segment, consistency, shuffle)


@pytest.mark.parametrize("segment", [1, 2, 30])
def test_a_segment_starts_from_the_base_noise_its_frames_shuffled(segment):
    shuffled = noise(segment)
    assert not torch.equal(shuffled, noise(0))
    assert torch.equal(shuffled, noise(0)[:, :, frame_order(16, 7, segment)])
    assert sorted(frame_order(16, 7, segment).tolist()) == list(range(16))


def test_segments_and_seeds_have_orders_of_their_own_and_segment_0_keeps_all():
    orders = [
        tuple(frame_order(16, seed, segment).tolist()) for seed in (7, 8) for segment in range(1, 6)
    ]
    assert len(set(orders)) == len(orders)
    assert (
        frame_order(16, 7, 0).tolist()
        == frame_order(16, 7, 5, shuffle="none").tolist()
        == list(range(16))
    )


def test_without_consistency_noise_is_unrelated_and_half_of_it_keeps_the_variance():
    whole = torch.stack([noise(n, consistency=0.0, frames=64).flatten() for n in range(3)])
    assert torch.corrcoef(whole).triu(diagonal=1).abs().max() < 5 / whole.shape[1] ** 0.5
    half = noise(1, consistency=0.5, frames=64)
    assert abs(half.var() - 1) < 0.05
    correlation = torch.corrcoef(torch.stack((half.flatten(), noise(1, frames=64).flatten())))[0, 1]
    assert correlation == pytest.approx(0.5**0.5, abs=0.05)


def test_coherence_is_a_gradient_step_on_the_squared_difference_of_the_noises():
    """Eq. 12, its gradient by autograd instead of in closed form; the sample stays what it was."""
    expert, t, gamma = Networked(SCHEDULES["control"]), 499, 0.1
    x_t, previous = torch.randn(
        2, 1, 4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    eps = expert(x_t, t).noise.clone().requires_grad_()
    (eps - previous).square().sum().backward()
    found = Coherent(expert, previous, gamma)(x_t, t)
    assert torch.allclose(found.noise, eps.detach() - gamma * eps.grad)
    assert torch.allclose(expert.schedule.level(t).mix(found.clean, found.noise), x_t)


def test_coherence_of_half_steps_with_the_previous_noise_itself():
    expert, previous = Networked(SCHEDULES["control"]), torch.ones(1, 4, 3, 8, 8)
    assert torch.allclose(
        Coherent(expert, previous, 0.5)(torch.zeros_like(previous), 499).noise, previous
    )


def test_coherence_leaves_the_clean_latents_of_pure_noise_which_no_noise_decides():
    schedule, previous = from_betas([0.1, 0.5, 1.0]), torch.ones(1, 4, 3, 8, 8)
    expert = Networked(schedule, "v_prediction")
    found, alone = Coherent(expert, previous, 0.5)(-previous, 2), expert(-previous, 2)
    assert torch.equal(found.clean, alone.clean) and torch.equal(found.noise, previous)


@pytest.mark.parametrize("align", ["frame", "noise"])
def test_a_structure_hears_the_noise_that_the_one_before_it_stepped_with(align):
    """In other words: a plain Euler loop in which every step's noise is pulled and remembered."""
    pipeline = pipeline_of(**LONG, long_video=LongVideoOptions(coherence=0.1, align=align))
    expert = Networked(SCHEDULES["control"], "v_prediction")
    steps, heard, expected = trailing(expert.schedule, 4), {}, []
    for segment in range(3):
        places = frame_order(8, 7, segment)
        before = torch.argsort(frame_order(8, 7, max(0, segment - 1)))
        x = steps.init_noise_sigma * pipeline.initial_noise(0)[:, :, places]
        stepped = {}
        for t, following in zip(steps.timesteps, (*steps.timesteps[1:], None), strict=True):
            signal, level = expert.schedule.level(t)
            eps = expert(x, t).noise
            if segment:
                other = heard[t][:, :, before][:, :, places] if align == "noise" else heard[t]
                eps = eps - 0.2 * (eps - other)
            stepped[t] = eps
            clean = (x - level * eps) / signal
            x = clean if following is None else expert.schedule.level(following).mix(clean, eps)
        heard = stepped
        expected.append(x)
    made = [each.latents for each in structures(pipeline)]
    assert all(
        torch.allclose(one, other, atol=1e-4) for one, other in zip(made, expected, strict=True)
    )


def test_without_coherence_a_structure_needs_no_other():
    pipeline = pipeline_of(**LONG)
    alone = sample_structure(pipeline, 2, None, plain)
    *_, last = structures(pipeline)
    assert torch.equal(alone.latents, last.latents)


@pytest.mark.parametrize("overlap", [0, 1, 3, 4])
@pytest.mark.parametrize("backwards", [False, True])
def test_windows_computed_alone_and_in_any_order_are_those_of_the_stream(overlap, backwards):
    pipeline = pipeline_of(num_frames=21, segment_frames=8, overlap=overlap)
    drafts = {made.number: made.latents for made in structures(pipeline)}
    numbers = range(int(pipeline.timeline.window_count))
    alone = {
        n: refine_window(
            pipeline, n, cut_draft(pipeline.timeline, pipeline.timeline.refines(n), drafts), plain
        )
        for n in sorted(numbers, reverse=backwards)
    }
    parts = [cross_fade(pipeline.timeline, n, alone[n], alone.get(n - 1)) for n in numbers]
    assert torch.equal(torch.cat(parts, dim=2), latents(pipeline))


def test_shared_frames_go_from_the_one_windows_to_the_others_in_even_steps():
    timeline = Timeline(16, 8, overlap=3)
    before, after = torch.zeros(1, 1, 11, 1, 1), torch.ones(1, 1, 11, 1, 1)
    assert timeline.window(1).start == 3
    faded = cross_fade(timeline, 1, after, before).flatten().tolist()
    assert faded == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("noise_by", ["frame", "window"])
def test_adjacent_windows_agree_about_a_frames_noise_where_it_is_keyed_by_frame(noise_by):
    pipeline = pipeline_of(**LONG, long_video=LongVideoOptions(noise_by=noise_by))
    one, following = (
        pipeline.renoise(0, 1, "temporal")[:, :, -2:],
        pipeline.renoise(1, 1, "temporal")[:, :, :2],
    )
    assert torch.equal(one, following) == (noise_by == "frame")


@pytest.mark.parametrize("num_frames", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33])
@pytest.mark.parametrize("staggered", [True, False])
def test_a_video_has_exactly_its_frames_whatever_the_segments_length(num_frames, staggered):
    pipeline = pipeline_of(num_frames=num_frames, segment_frames=8)
    pipeline = replace(
        pipeline, timeline=Timeline(num_frames, 8, 2 if num_frames > 8 else 0, staggered)
    )
    assert latents(pipeline).shape == (1, 4, num_frames, 8, 8)


@pytest.mark.parametrize("num_frames", [9, 12, 17, 19, 24])
def test_a_longer_video_begins_with_the_frames_that_a_shorter_one_has_cross_fade(num_frames):
    longer, shorter = (
        latents(
            pipeline_of(
                num_frames=frames,
                segment_frames=8,
                overlap=2,
                long_video=LongVideoOptions(coherence=0.1),
            )
        )
        for frames in (40, num_frames)
    )
    timeline = Timeline(num_frames, 8, 2)
    whole = [
        n
        for n in range(len(timeline.windows))
        if len(timeline.refines(n)) == (10 if n else 5 - 2 + 2)
    ]
    common = min(timeline.window(whole[-1]).stop, Timeline(40, 8, 2).window(whole[-1]).stop)
    assert torch.equal(longer[:, :, :common], shorter[:, :, :common])


def moving(change, frames=16):
    """A segment whose frames go from 0 on in even steps."""
    return (change * torch.arange(frames)).view(1, 1, -1, 1, 1).expand(1, 4, frames, 8, 8)


def test_a_segment_that_would_jump_is_played_backwards_and_the_one_after_it_forwards_again():
    one = moving(1.0)
    first = continuation(one, backwards=(False,))
    assert first.backwards == (True,) and torch.equal(first.target, one)
    assert first.weight.tolist() == [[0.0] * 8 + [frame / 8 for frame in range(1, 9)]]
    second = continuation(one.flip(2), backwards=(True,))
    assert second.backwards == (False,) and torch.equal(second.target, one)
    assert second.weight.tolist() == first.weight.flip(1).tolist()


@pytest.mark.parametrize(
    "segment", [moving(0.0), torch.cat((moving(1.0, 8), moving(1.0, 8).flip(2)), dim=2)]
)
def test_a_segment_that_ends_where_it_began_is_followed_by_one_that_is_pulled_to_its_last_frame(
    segment,
):
    found = continuation(segment, backwards=(False,))
    assert found.backwards == (False,)
    assert found.weight.tolist() == [[0.5, 0.375, 0.25, 0.125] + [0.0] * 12]
    assert torch.equal(found.target, segment[:, :, -1:].expand_as(segment))


def test_an_anchor_mixes_the_clean_estimate_with_what_is_known_and_leaves_the_sample_where_it_is():
    expert, t = Networked(SCHEDULES["control"], "v_prediction"), 499
    x_t, target = torch.randn(
        2, 1, 4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    found, plain_one = (
        AnchoredDenoiser(expert, target, torch.tensor([[0.0, 0.25, 1.0]]))(x_t, t),
        expert(x_t, t),
    )
    for frame, weight in enumerate((0.0, 0.25, 1.0)):
        expected = (1 - weight) * plain_one.clean[:, :, frame] + weight * target[:, :, frame]
        assert torch.allclose(found.clean[:, :, frame], expected)
    assert torch.allclose(expert.schedule.level(t).mix(found.clean, found.noise), x_t)


def test_a_structure_that_turns_joins_the_one_before_it_and_says_that_it_is_backwards():
    """An expert that always draws the same motion."""
    knowing = Knowing(SCHEDULES["control"], moving(0.5, 8))
    pipeline = pipeline_of(
        **LONG | {"num_frames": 40}, long_video=LongVideoOptions(turn=True), control=knowing
    )
    made = list(structures(pipeline))
    assert [each.backwards for each in made] == [(False,), (True,), (False,), (True,), (False,)]
    for one, following in pairwise(made):
        assert torch.allclose(one.latents[:, :, -1], following.latents[:, :, 0], atol=1e-4)
    again = sample_structure(pipeline, 3, made[2], plain)
    assert torch.equal(again.latents, made[3].latents)


def test_where_the_prompt_changes_nothing_turns_and_nothing_is_pulled():
    knowing = Knowing(SCHEDULES["control"], moving(0.5, 8))
    by_frame = {0: knowing, 8: Networked(SCHEDULES["control"], "v_prediction")}

    def second(turn):
        pipeline = pipeline_of(**LONG, long_video=LongVideoOptions(turn=turn))
        changed = replace(pipeline, denoisers=pipeline.denoisers | {"control": by_frame})
        return list(structures(changed))[1]

    turned, straight = second(turn=True), second(turn=False)
    assert torch.equal(turned.latents, straight.latents) and turned.backwards == (False,)


def test_each_frame_is_estimated_by_the_prompt_that_holds_there():
    denoisers = {
        start: Networked(
            SCHEDULES["spatial"], network=lambda x, t, value=value: torch.full_like(x, value)
        )
        for start, value in ((0, 1.0), (4, 2.0), (6, 3.0))
    }
    x_t = torch.zeros(1, 4, 8, 2, 2)
    found = for_frames(denoisers, range(2, 10))(x_t, 100)
    assert found.noise[0, 0, :, 0, 0].tolist() == [1, 1, 2, 2, 3, 3, 3, 3]
    assert found.passes == 3
    assert torch.allclose(
        denoisers[0].schedule.level(100).mix(found.clean, found.noise), x_t, atol=1e-5
    )
    assert for_frames(denoisers, range(6, 9)) is denoisers[6]
    assert for_frames(denoisers, range(7, 9)) is denoisers[6]
    moved = for_frames(denoisers, range(2, 10)).read_on(SCHEDULES["temporal"])
    assert moved.schedule is SCHEDULES["temporal"] and moved(x_t, 100).noise[0, 0, 3, 0, 0] == 2

"""Intervals and comparisons, where the truth is known."""

import pytest
import torch

from evaluation.statistics import (
    Frechet,
    Interval,
    Moments,
    draws,
    interval,
    less_bias,
    mean,
    median,
)

PROMPTS = 64


def of_mean(values, drawn):
    return interval(mean(values, drawn))


def distances(features, reference, drawn):
    return Frechet(Moments.of(reference), drawn).distances(Moments.of(features))


def frechet(features, reference):
    """The distance of all features, from the square root of one covariance matrix."""
    first, second = features.T.cov(), reference.T.cov()
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    common = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    means = (features.mean(dim=0) - reference.mean(dim=0)).square().sum()
    return float(means + first.trace() + second.trace() - 2 * common)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = 3 + 2 * normal(0, PROMPTS)
    found = of_mean(values, draws(PROMPTS))
    half = 1.96 * float(values.std(correction=0)) / PROMPTS**0.5
    assert found.estimate == pytest.approx(float(values.mean()))
    assert (found.low, found.high) == pytest.approx(
        (found.estimate - half, found.estimate + half), abs=0.06
    )


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    drawn = draws(PROMPTS, replicates=400)
    found = [of_mean(normal(seed, PROMPTS), drawn) for seed in range(200)]
    held = sum(each.low <= 0 <= each.high for each in found)
    assert 0.88 <= held / 200 <= 0.99


def test_a_paired_comparison_sees_what_single_intervals_cannot():
    hard, drawn = 5 * normal(1, PROMPTS), draws(PROMPTS)
    one, other = hard + 0.1 * normal(2, PROMPTS), hard + 0.2 + 0.1 * normal(3, PROMPTS)
    alone = of_mean(one, drawn), of_mean(other, drawn)
    assert alone[0].high > alone[1].low
    assert of_mean(other - one, drawn).apart
    assert not of_mean(one + 0.1 * normal(4, PROMPTS) - one, drawn).apart


def test_every_replicate_draws_as_many_prompts_as_there_are_the_first_all_once_and_repeats_itself():
    drawn = draws(PROMPTS, replicates=50)
    assert torch.equal(drawn.sum(dim=1), torch.full((51,), float(PROMPTS), dtype=torch.float64))
    assert torch.equal(drawn[0], torch.ones(PROMPTS, dtype=torch.float64))
    assert torch.equal(drawn, draws(PROMPTS, replicates=50))
    assert not torch.equal(drawn, draws(PROMPTS, replicates=50, seed=1))


def test_the_median_of_a_draw_is_that_of_its_prompts_as_often_as_they_were_drawn():
    values, drawn = normal(0, 9), draws(9, replicates=20)
    for line, found in zip(drawn.int(), median(values, drawn), strict=True):
        assert float(found) == float(values.repeat_interleave(line).median())


def test_a_prompt_without_a_value_has_no_say():
    values = normal(0, 9)
    values[3] = torch.nan
    drawn = draws(9, replicates=20)
    for line, found in zip(drawn.int(), mean(values, drawn), strict=True):
        assert float(found) == pytest.approx(float(values.repeat_interleave(line).nanmean()))


def test_a_distance_is_that_of_normal_distributions():
    features, once = normal(1, 500, 6), draws(1, replicates=1)
    moved = distances([features + 0.5], [features], once)
    assert float(moved[0]) == pytest.approx(6 * 0.25, rel=1e-6)
    spread = distances([3 * features], [features], once)
    wanted = 4 * features.T.cov().trace() + 4 * features.mean(dim=0).square().sum()
    assert float(spread[0]) == pytest.approx(float(wanted), rel=1e-6)


def test_the_distance_of_all_prompts_once_is_the_plain_one():
    features, reference = ([normal(10 * p + k, 16 + p, 6) + k for p in range(8)] for k in (1, 2))
    found = distances(features, reference, draws(8, replicates=1))
    assert float(found[0]) == pytest.approx(
        frechet(torch.cat(features), torch.cat(reference)), rel=1e-6
    )


def test_a_replicate_is_the_distance_of_its_prompts_as_often_as_they_were_drawn():
    features, reference = ([normal(10 * p + k, 9, 4) * (1 + k) for p in range(6)] for k in (1, 2))
    drawn = draws(6, replicates=3)
    found = distances(features, reference, drawn)
    for line, distance in zip(drawn.int().tolist(), found.tolist(), strict=True):
        chosen = [prompt for prompt, count in enumerate(line) for _ in range(count)]
        plain = frechet(
            *(torch.cat([each[prompt] for prompt in chosen]) for each in (features, reference))
        )
        assert distance == pytest.approx(plain, rel=1e-6)


def test_what_drawing_again_adds_to_a_distance_is_taken_off():
    features, reference = ([normal(100 * p + k, 4, 8) for p in range(PROMPTS)] for k in (1, 2))
    computed = distances(features, reference, draws(PROMPTS, replicates=300))
    assert float(computed[1:].mean()) > 1.3 * float(computed[0])
    found = interval(less_bias(computed))
    assert found.low < found.estimate == float(computed[0]) < found.high
    assert found.high - found.low == pytest.approx(interval(computed).high - interval(computed).low)


def test_an_interval_is_apart_from_zero_on_either_side_only():
    assert Interval(1, 0.5, 2).apart and Interval(-1, -2, -0.5).apart
    assert not Interval(0.1, -0.1, 0.3).apart
    assert Interval(0.2091, 0.2032, 0.2149).text(3) == "0.209 (0.203 to 0.215)"

"""Refinement where everything can be worked out: white Gaussian data, optimal experts.

Such an expert's estimate is affine in the sample, so a walk sends a Gaussian to a Gaussian, whose
moments are followed here through plain numbers and compared with those of many samples that really
took the walk.
"""

from __future__ import annotations

import pytest
from support.toy_experts import Gaussian

from confiner_cli.method.noise import keyed_noise
from confiner_cli.method.options import RefinementOptions
from confiner_cli.method.refinement import PATTERNS, refine, refinement_visits
from confiner_cli.method.schedule import CLEAN, linear, scaled_linear
from confiner_cli.method.walk import Visit

STABLE_DIFFUSION, LAVIE = scaled_linear(), linear()
SHAPE = (1, 4, 16, 64, 64)
STANDARD_ERRORS = 5
BLENDED = ("averaged", "slow_from_temporal", "slow_from_spatial")


def predicted(visits: list[Visit], mean: float, std: float) -> tuple[float, float]:
    """Mean and variance after the walk of a draft N(mean, std^2), noised to the first level."""
    a, n = visits[0].level
    mean, variance = a * mean, a**2 * std**2 + n**2
    for visit, following in zip(visits, [*visits[1:], None], strict=True):
        expert = visit.denoiser
        # The network's noise, slope * x + offset, as its own schedule has it ...
        a, n = (expert.trained_on or expert.schedule).level(visit.t)
        slope = n / (a**2 * expert.std**2 + n**2)
        offset = -slope * a * expert.mean
        # ... and the step from it on the schedule that the visit reads it on.
        a, n = visit.level
        signal, noise = following.level if following else CLEAN
        eta = following.eta if following else 0.0
        kept = noise * (1 - eta**2) ** 0.5 - signal * n / a
        mean = (signal / a + kept * slope) * mean + kept * offset
        variance = (signal / a + kept * slope) ** 2 * variance + (noise * eta) ** 2
    return mean, variance


def std_left(experts: tuple[Gaussian, Gaussian], te: int, patterns: list[str], **options) -> float:
    """The standard deviation that data of the experts' own distribution has after refinement."""
    options = RefinementOptions(tuple(patterns), te, **options)
    visits = refinement_visits(options, *experts)
    return predicted(visits, experts[0].mean, experts[0].std)[1] ** 0.5


@pytest.mark.parametrize("matching", ["same", "snr"])
@pytest.mark.parametrize("renoise", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name not in BLENDED])
def test_mean_and_variance_after_refinement_are_the_predicted_ones(pattern, renoise, matching):
    options = RefinementOptions((pattern,) * 5, 400, renoise, matching)
    experts = Gaussian(STABLE_DIFFUSION, 0.4, 0.5), Gaussian(LAVIE, -0.3, 0.8)
    visits = refinement_visits(options, *experts)
    structure = 0.7 + 0.6 * keyed_noise(SHAPE, 1, "structure").double()
    *_, last = refine(
        structure, visits, lambda visit: keyed_noise(SHAPE, 1, "fresh", visit).double()
    )
    mean, variance = predicted(visits, 0.7, 0.6)
    count = structure.numel()
    assert float(last.x_t.mean()) == pytest.approx(
        mean, abs=STANDARD_ERRORS * (variance / count) ** 0.5
    )
    assert float(last.x_t.var()) == pytest.approx(
        variance, rel=STANDARD_ERRORS * (2 / count) ** 0.5
    )


@pytest.mark.parametrize(
    ("te", "steps", "fresh", "none"),
    [(600, 5, 0.31, 0.37), (600, 10, 0.34, 0.42), (100, 5, 0.36, 0.475)],
)
def test_fresh_noise_at_the_hops_costs_contrast(te, steps, fresh, none):
    experts = Gaussian(STABLE_DIFFUSION, 0.0, 0.5), Gaussian(LAVIE, 0.0, 0.5)
    coordinated, standard = ["coordinated"] * steps, ["standard"] * steps
    assert std_left(experts, te, coordinated) == pytest.approx(fresh, abs=0.005)
    assert std_left(experts, te, standard) == pytest.approx(none, abs=0.005)
    # A hop to the same noise ratio with predicted noise costs none, to the timestep's rounding.
    matched = std_left(experts, te, coordinated, renoise=0.0, timestep_matching="snr")
    assert matched == pytest.approx(none, abs=0.01)


@pytest.mark.parametrize("pattern", ["standard", "temporal_only", "interleaved"])
def test_many_small_steps_give_the_data_back(pattern):
    options = RefinementOptions((pattern,) * 300, 600, timestep_matching="snr")
    experts = Gaussian(STABLE_DIFFUSION, 0.4, 0.5), Gaussian(LAVIE, 0.4, 0.5)
    mean, variance = predicted(refinement_visits(options, *experts), 0.4, 0.5)
    assert (mean, variance**0.5) == pytest.approx((0.4, 0.5), abs=0.01)


def test_interleaving_loses_contrast_with_more_steps_unless_the_noise_ratios_match():
    experts = Gaussian(STABLE_DIFFUSION, 0.0, 0.5), Gaussian(LAVIE, 0.0, 0.5)
    runs = [["interleaved"] * steps for steps in (10, 20, 50, 100)]
    same = [std_left(experts, 100, run) for run in runs]
    matched = [std_left(experts, 100, run, timestep_matching="snr") for run in runs]
    assert same == sorted(same, reverse=True) and same[-1] < 0.4
    assert matched == sorted(matched) and matched[-1] > 0.49


@pytest.mark.parametrize("steps", [30, 100, 300])
def test_naive_keeps_the_mean_where_schedules_agree_and_misses_it_elsewhere_in_any_steps(
    steps,
):
    spatial, stranger = Gaussian(STABLE_DIFFUSION, 0.4, 0.5), Gaussian(LAVIE, 0.4, 0.5)
    options = RefinementOptions(("naive",) * steps, 600)
    alike, unlike = (
        predicted(refinement_visits(options, spatial, temporal), 0.4, 0.5)[0]
        for temporal in (spatial, stranger)
    )
    assert alike == pytest.approx(0.4)
    assert abs(unlike - 0.4) > 0.02

import math
from dataclasses import FrozenInstanceError

import pytest
import torch
from diffusers import DDIMScheduler

from confiner_cli.method.schedule import CLEAN, Level, estimate, linear, scaled_linear

STABLE_DIFFUSION = scaled_linear()
LAVIE = linear()
ANIMATEDIFF = linear(0.00085, 0.012)


@pytest.mark.parametrize(
    ("schedule", "name", "betas"),
    [
        (STABLE_DIFFUSION, "scaled_linear", (0.00085, 0.012)),
        (LAVIE, "linear", (0.0001, 0.02)),
        (ANIMATEDIFF, "linear", (0.00085, 0.012)),
        (scaled_linear(0.001, 0.01, 50), "scaled_linear", (0.001, 0.01)),
    ],
    ids=["stable_diffusion", "lavie", "animatediff", "short"],
)
def test_tables_are_diffusers(schedule, name, betas):
    theirs = DDIMScheduler(
        num_train_timesteps=len(schedule),
        beta_schedule=name,
        beta_start=betas[0],
        beta_end=betas[1],
    ).alphas_cumprod.double()
    assert torch.equal((schedule.signal**2).float(), theirs.float())
    assert torch.allclose(schedule.noise**2, 1 - theirs, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("schedule", "at_500", "at_100"),
    [(STABLE_DIFFUSION, 0.276, 0.894), (LAVIE, 0.078, 0.895), (ANIMATEDIFF, 0.161, 0.867)],
    ids=["stable_diffusion", "lavie", "animatediff"],
)
def test_the_same_timestep_is_another_noise_level_on_another_schedule(schedule, at_500, at_100):
    abar = [schedule.level(t).signal ** 2 for t in (500, 100)]
    assert [round(value, 3) for value in abar] == [at_500, at_100]


def test_clean_is_no_entry_of_a_table():
    assert CLEAN == (1.0, 0.0)
    assert STABLE_DIFFUSION.level(0).noise == pytest.approx(0.029, abs=5e-4)


@pytest.mark.parametrize("t", [1, 500, 999])
def test_epsilon_v_and_sample_predictions_read_to_the_same_estimate(t):
    clean, eps = torch.randn(
        2, 1, 4, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    level = STABLE_DIFFUSION.level(t)
    x_t = level.mix(clean, eps)
    outputs = {
        "epsilon": eps,
        "sample": clean,
        "v_prediction": level.signal * eps - level.noise * clean,
    }
    for prediction_type, output in outputs.items():
        read = estimate(prediction_type, x_t, output, level)
        assert torch.allclose(read.clean, clean, atol=1e-9), prediction_type
        assert torch.allclose(read.noise, eps, atol=1e-9), prediction_type


def test_an_unknown_prediction_type_raises():
    with pytest.raises(ValueError, match="'velocity'"):
        estimate("velocity", torch.zeros(1), torch.zeros(1), Level(0.8, 0.6))


@pytest.mark.parametrize(
    "source", [STABLE_DIFFUSION, ANIMATEDIFF], ids=["stable_diffusion", "animatediff"]
)
@pytest.mark.parametrize("t", [0, 20, 100, 500, 999])
def test_matching_finds_the_timestep_with_the_nearest_noise_to_signal_ratio(source, t):
    def distance(other):
        return abs(math.log(other.noise / other.signal) - math.log(level.noise / level.signal))

    level = source.level(t)
    found = LAVIE.level(LAVIE.matching(level))
    assert distance(found) == pytest.approx(
        min(distance(LAVIE.level(t)) for t in range(1000)), abs=1e-6
    )
    assert source.matching(level) == t


@pytest.mark.parametrize("t", [-1, 1000])
def test_a_timestep_outside_the_table_raises(t):
    with pytest.raises(IndexError, match=f"timestep {t} is outside 0..999"):
        LAVIE.level(t)


def test_a_schedule_is_immutable():
    with pytest.raises(FrozenInstanceError):
        LAVIE.signal = STABLE_DIFFUSION.signal  # type: ignore[misc]

import pytest
import torch

from confiner_cli.method.estimate import PREDICTION_TYPES, estimate
from confiner_cli.method.schedule import CLEAN, Level, scaled_linear

STABLE_DIFFUSION = scaled_linear()
PURE_NOISE = Level(0.0, 1.0)
LEVELS = {
    "little noise": STABLE_DIFFUSION.level(1),
    "between timesteps": STABLE_DIFFUSION.level(500.3),
    "most noise": STABLE_DIFFUSION.level(999),
    "flow": Level(0.3, 0.7),
    "pure noise": PURE_NOISE,
    "clean": CLEAN,
}


def true_outputs(level):
    """A clean sample, noise, and what a network that knows both says by prediction type."""
    generator = torch.Generator().manual_seed(0)
    clean, eps = torch.randn(2, 1, 4, 2, 3, 3, dtype=torch.float64, generator=generator)
    v = level.signal * eps - level.noise * clean
    outputs = {"epsilon": eps, "sample": clean, "v_prediction": v, "flow_prediction": eps - clean}
    return clean, eps, outputs


def test_all_prediction_types_are_tested():
    assert set(true_outputs(CLEAN)[2]) == set(PREDICTION_TYPES)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("name", LEVELS)
def test_every_prediction_that_says_enough_reads_to_the_same_estimate(prediction_type, name):
    level = LEVELS[name]
    clean, eps, outputs = true_outputs(level)
    x_t, output = level.mix(clean, eps), outputs[prediction_type]
    if (prediction_type, name) in (("epsilon", "pure noise"), ("sample", "clean")):
        with pytest.raises(ValueError, match=r"say nothing|says nothing"):
            estimate(prediction_type, x_t, output, level)
        return
    read = estimate(prediction_type, x_t, output, level)
    assert torch.allclose(read.clean, clean, atol=1e-9)
    assert torch.allclose(read.noise, eps, atol=1e-9)


def test_an_unknown_prediction_type_raises():
    with pytest.raises(ValueError, match="'velocity'"):
        estimate("velocity", torch.zeros(1), torch.zeros(1), Level(0.8, 0.6))

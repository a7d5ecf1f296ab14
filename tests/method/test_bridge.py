"""Crossing between latent spaces through frames: what is lost, and what is not."""

from dataclasses import dataclass

import pytest
import torch
from support.crossings import there_and_back
from support.toy_experts import Knowing, Networked
from torch import Tensor

from confiner_cli.method.bridge import Crossing, bridged
from confiner_cli.method.estimate import Estimate
from confiner_cli.method.flow import Flow
from confiner_cli.method.options import RefinementOptions
from confiner_cli.method.refinement import refinement_visits
from confiner_cli.method.schedule import scaled_linear
from confiner_cli.method.walk import Visit, walk

FRAMES = 5


@dataclass(frozen=True, eq=False)
class Lossy:
    """A coding that loses something each way: linear maps of channels, a smoothing, a bias."""

    channels: int
    seed: int

    def _map(self, rows: int, columns: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.linalg.qr(torch.randn(max(rows, columns), 3, generator=generator))[0]

    def decode(self, latents: Tensor) -> Tensor:
        pixels = torch.einsum("ck,bcfhw->bkfhw", self._map(self.channels, 3), latents)
        return torch.tanh(0.9 * pixels + 0.05)

    def encode(self, pixels: Tensor) -> Tensor:
        blurred = (pixels + pixels.roll(1, -1)) / 2
        return torch.einsum("ck,bkfhw->bcfhw", self._map(self.channels, 3), blurred) - 0.03


def test_ten_crossings_with_experts_that_change_nothing_change_nothing_by_residuals():
    start = 0.5 * torch.randn(1, 16, FRAMES, 8, 8, generator=torch.Generator().manual_seed(1))
    codings = Lossy(16, 2), Lossy(4, 3)
    assert there_and_back(start, *codings, residual=True, crossings=10) < 1e-6
    assert there_and_back(start, *codings, residual=False, crossings=10) > 0.5  # all is lost


def test_what_an_expert_changes_over_there_comes_back():
    """Of a coding that loses nothing the change itself, whichever form the bridge has."""

    @dataclass(frozen=True)
    class Exact:
        scale: float

        def decode(self, latents):
            return latents / self.scale

        def encode(self, pixels):
            return pixels * self.scale

    start, other = torch.randn(2, 1, 3, FRAMES, 4, 4)
    visits = [
        Visit("temporal", Knowing(Flow(), start), 500.0),
        Visit("spatial", Knowing(Flow(), 2 * other), 400.0, 1.0),
        Visit("temporal", Knowing(Flow(), start), 500.0, 1.0),
    ]
    codings = {"temporal": Exact(1.0), "spatial": Exact(2.0)}
    for residual in (True, False):
        crossed = bridged(visits, codings, residual)
        steps = list(walk(start, crossed, fresh=lambda number: torch.zeros_like(start)))
        assert torch.allclose(steps[1].x_t, 0.5 * other, atol=1e-5)


def test_the_first_arrival_is_the_image_of_the_clean_estimate_and_nothing_else():
    codings = {"temporal": Lossy(16, 2), "spatial": Lossy(4, 3)}
    clean = torch.randn(1, 16, FRAMES, 8, 8)
    expert = Knowing(scaled_linear(), codings["spatial"].encode(codings["temporal"].decode(clean)))
    visits = [Visit("temporal", Knowing(Flow(), clean), 250.0), Visit("spatial", expert, 90.0, 1.0)]
    *_, last = walk(
        clean,
        bridged(visits, codings, residual=True),
        fresh=lambda number: torch.zeros(1, 4, FRAMES, 8, 8),
    )
    assert torch.allclose(last.estimate.noise, torch.zeros_like(last.estimate.noise), atol=1e-5)


def test_within_one_space_nothing_is_crossed():
    coding = Lossy(4, 3)
    spatial, temporal = Networked(scaled_linear()), Networked(Flow(), "flow_prediction")
    visits = refinement_visits(RefinementOptions(), spatial, temporal)
    assert bridged(visits, {"spatial": coding, "temporal": coding}, residual=True) == visits


def test_a_crossing_without_fresh_noise_is_refused():
    spatial, temporal = Networked(scaled_linear()), Networked(Flow(), "flow_prediction")
    visits = refinement_visits(RefinementOptions(renoise=0.5), spatial, temporal)
    codings = {"temporal": Lossy(16, 2), "spatial": Lossy(4, 3)}
    with pytest.raises(ValueError, match="with fresh noise alone"):
        bridged(visits, codings, residual=True)


def test_a_crossing_keeps_what_the_estimate_has_cost():
    codings = Lossy(16, 2), Lossy(4, 3)
    clean = torch.randn(1, 16, FRAMES, 8, 8)
    crossing = Crossing(lambda history: Estimate(clean, clean, passes=2), *codings, frozenset())
    assert crossing([]).passes == 2

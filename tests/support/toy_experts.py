"""Experts whose answers can be worked out by hand, for tests of the method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import conv3d

from confiner_cli.method.estimate import Estimate, estimate
from confiner_cli.method.schedule import Schedule


def tanh_network(x: Tensor, t: float) -> Tensor:
    """A small untrained network: bounded, mixes channels and neighbours, depends on t."""
    weight = torch.randn(4, 4, 3, 3, 3, generator=torch.Generator().manual_seed(5)) / 6
    return torch.tanh(conv3d(x, weight.to(x), padding=1) + t / 1000)


@dataclass(frozen=True, eq=False)
class Networked:
    """A denoiser around a bare function of sample and timestep."""

    schedule: Schedule
    prediction_type: str = "epsilon"
    network: Callable[[Tensor, float], Tensor] = tanh_network

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        return estimate(self.prediction_type, x_t, self.network(x_t, t), self.schedule.level(t))

    def read_on(self, schedule: Schedule) -> Networked:
        return replace(self, schedule=schedule)


@dataclass(frozen=True, eq=False)
class Knowing:
    """Knows the clean sample, and reads the noise off what it is shown."""

    schedule: Schedule
    clean: Tensor

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        return estimate("sample", x_t, self.clean, self.schedule.level(t))

    def read_on(self, schedule: Schedule) -> Knowing:
        return replace(self, schedule=schedule)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The optimal denoiser of white data N(mean, std^2), a network that predicts the noise.

    Read on another schedule it still answers with the noise that it would see on the one that it
    was trained on, as a network would.
    """

    schedule: Schedule
    mean: float
    std: float
    trained_on: Schedule | None = None

    def network(self, x_t: Tensor, t: float) -> Tensor:
        signal, noise = (self.trained_on or self.schedule).level(t)
        gain = self.std**2 * signal / (signal**2 * self.std**2 + noise**2)
        clean = self.mean + gain * (x_t - signal * self.mean)
        return (x_t - signal * clean) / noise

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        return estimate("epsilon", x_t, self.network(x_t, t), self.schedule.level(t))

    def read_on(self, schedule: Schedule) -> Gaussian:
        return replace(self, schedule=schedule, trained_on=self.trained_on or self.schedule)

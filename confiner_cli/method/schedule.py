"""Noise schedules as immutable values, and the estimate that belongs to none of them.

`x_t = signal(t) * clean + noise(t) * eps`. Two experts whose schedules differ share nothing but `clean` (ConFiner,
arXiv 2408.13423, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from confiner_cli.method.level import (
    CLEAN as CLEAN,  # what a walk ends at, for those who begin from a schedule
)
from confiner_cli.method.level import Level


@dataclass(frozen=True)
class Estimate:
    """What an expert believes of a sample: its clean latents and its noise, both shaped like the sample.

    `passes` is what the estimate cost, in passes through a network: 1, or 2 with guidance.
    """

    clean: Tensor
    noise: Tensor
    passes: int = 1


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """Two float64 tables of shape `(num_train_timesteps,)`, indexed by the timestep."""

    signal: Tensor
    noise: Tensor

    def __len__(self) -> int:
        return len(self.signal)

    def level(self, t: int) -> Level:
        """The level at timestep `t`. Raises IndexError outside `[0, len(self))`."""
        if not 0 <= t < len(self):
            raise IndexError(f"timestep {t} is outside 0..{len(self) - 1}")
        return Level(float(self.signal[t]), float(self.noise[t]))

    def matching(self, level: Level) -> int:
        """The timestep whose noise-to-signal ratio is nearest (in its logarithm) to that of a noisy `level`."""
        ratio = torch.log(self.noise / self.signal)
        return int((ratio - torch.log(torch.tensor(level.noise / level.signal))).abs().argmin())


def from_betas(betas: Tensor) -> NoiseSchedule:
    """A variance-preserving schedule: `signal = sqrt(abar)`, `noise = sqrt(1 - abar)`, abar the product of 1 - beta."""
    abar = torch.cumprod(1 - betas.to(torch.float32), dim=0).to(torch.float64)
    return NoiseSchedule(signal=abar.sqrt(), noise=(1 - abar).sqrt())


def linear(
    beta_start: float = 0.0001, beta_end: float = 0.02, num_train_timesteps: int = 1000
) -> NoiseSchedule:
    """Betas on a line: LaVie's with the defaults, AnimateDiff's from 0.00085 to 0.012."""
    return from_betas(
        torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float32)
    )


def scaled_linear(
    beta_start: float = 0.00085, beta_end: float = 0.012, num_train_timesteps: int = 1000
) -> NoiseSchedule:
    """Square roots of the betas on a line: Stable Diffusion's with the defaults."""
    roots = torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps, dtype=torch.float32)
    return from_betas(roots**2)


BETA_SCHEDULES = {"linear": linear, "scaled_linear": scaled_linear}


def estimate(prediction_type: str, x_t: Tensor, output: Tensor, level: Level) -> Estimate:
    """Read a network's output as an `Estimate`.

    Args:
        prediction_type: `epsilon`, `v_prediction` or `sample`, diffusers' names.
        x_t: the noised sample, any shape.
        output: the network's prediction, shaped like `x_t`.
        level: the level that `x_t` has on the network's own schedule.

    Raises:
        ValueError: the prediction type is unknown.
    """
    signal, noise = level
    match prediction_type:
        case "epsilon":
            return Estimate(clean=(x_t - noise * output) / signal, noise=output)
        case "sample":
            return Estimate(clean=output, noise=(x_t - signal * output) / noise)
        case "v_prediction":
            norm = signal**2 + noise**2
            return Estimate(
                clean=(signal * x_t - noise * output) / norm,
                noise=(noise * x_t + signal * output) / norm,
            )
    raise ValueError(f"unknown prediction type {prediction_type!r}")

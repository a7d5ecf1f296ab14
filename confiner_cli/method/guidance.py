"""Classifier-free guidance as a denoiser around two denoisers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from confiner_cli.method.estimate import Estimate
from confiner_cli.method.schedule import Schedule
from confiner_cli.method.walk import Denoiser


@dataclass(frozen=True)
class Guided:
    """`unconditional + scale * (conditional - unconditional)` at the noise levels in `[low, high]`, plain outside.

    Mixing estimates is mixing predictions: both are linear in a network's output for a given sample (Ho and Salimans,
    arXiv 2207.12598; the interval is Kynkaanniemi et al., arXiv 2404.07724). Outside the interval it costs one pass.
    `together`, where there is one, answers a batch of two as the conditional and the unconditional denoiser answer one
    each: the same cost in one go.
    """

    conditional: Denoiser
    unconditional: Denoiser
    scale: float
    low: float = 0.0
    high: float = 1.0
    together: Denoiser | None = None

    @property
    def schedule(self) -> Schedule:
        """The conditional denoiser's."""
        return self.conditional.schedule

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        """The guided estimate of `x_t` at timestep `t`."""
        if not self.low <= self.schedule.level(t).noise <= self.high:
            return self.conditional(x_t, t)
        with_prompt, without = self._both(x_t, t)
        return Estimate(
            clean=without.clean + self.scale * (with_prompt.clean - without.clean),
            noise=without.noise + self.scale * (with_prompt.noise - without.noise),
            passes=with_prompt.passes + without.passes,
        )

    def _both(self, x_t: Tensor, t: float) -> tuple[Estimate, Estimate]:
        if self.together is None:
            return self.conditional(x_t, t), self.unconditional(x_t, t)
        pair = self.together(torch.cat((x_t, x_t)), t)
        (clean, clean_without), (noise, noise_without) = pair.clean.chunk(2), pair.noise.chunk(2)
        return Estimate(clean, noise), Estimate(clean_without, noise_without)

    def on(self, schedule: Schedule) -> Guided:
        """All denoisers, read on another schedule."""
        return replace(
            self,
            conditional=self.conditional.on(schedule),
            unconditional=self.unconditional.on(schedule),
            together=self.together and self.together.on(schedule),
        )

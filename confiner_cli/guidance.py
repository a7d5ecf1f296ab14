"""Classifier-free guidance as a denoiser around two denoisers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from confiner_cli.schedule import Estimate, NoiseSchedule
from confiner_cli.walk import Denoiser


@dataclass(frozen=True)
class Guided:
    """`unconditional + scale * (conditional - unconditional)` at the noise levels in `[low, high]`, plain outside.

    Mixing estimates is mixing predictions: both are linear in a network's output for a given sample (Ho and Salimans,
    arXiv 2207.12598; the interval is Kynkaanniemi et al., arXiv 2404.07724). Outside the interval it costs one pass.
    """

    conditional: Denoiser
    unconditional: Denoiser
    scale: float
    low: float = 0.0
    high: float = 1.0

    @property
    def schedule(self) -> NoiseSchedule:
        """The conditional denoiser's."""
        return self.conditional.schedule

    def __call__(self, x_t: Tensor, t: int) -> Estimate:
        """The guided estimate of `x_t` at timestep `t`."""
        with_prompt = self.conditional(x_t, t)
        if not self.low <= self.schedule.level(t).noise <= self.high:
            return with_prompt
        without = self.unconditional(x_t, t)
        return Estimate(
            clean=without.clean + self.scale * (with_prompt.clean - without.clean),
            noise=without.noise + self.scale * (with_prompt.noise - without.noise),
            passes=with_prompt.passes + without.passes,
        )

    def on(self, schedule: NoiseSchedule) -> Guided:
        """Both denoisers, read on another schedule."""
        return replace(self, conditional=self.conditional.on(schedule), unconditional=self.unconditional.on(schedule))

"""Classifier-free guidance as a denoiser around two denoisers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from confiner_cli.method.estimate import Estimate
from confiner_cli.method.options import GuidanceOptions
from confiner_cli.method.schedule import Schedule
from confiner_cli.method.walk import Denoiser


@dataclass(frozen=True)
class Guided:
    """`unconditional + scale * (conditional - unconditional)` where guidance applies, plain else.

    Mixing estimates is mixing predictions: both are linear in a network's output for a given sample
    (Ho and Salimans, arXiv 2207.12598; the interval is Kynkaanniemi et al., arXiv 2404.07724).

    Attributes:
        conditional: the expert with the prompt.
        unconditional: the same expert with the negative prompt.
        options: how strong guidance is, and at which levels it applies.
        batched: answers a batch of twice the samples, first as `conditional`, then as
            `unconditional` would: the same passes in one go. None asks one after the other.
    """

    conditional: Denoiser
    unconditional: Denoiser
    options: GuidanceOptions
    batched: Denoiser | None = None

    @property
    def schedule(self) -> Schedule:
        """The conditional denoiser's."""
        return self.conditional.schedule

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        """The guided estimate of `x_t`, `(batch, channel, frame, height, width)`, at `t`."""
        if not self.options.applies(self.schedule.level(t)):
            return self.conditional(x_t, t)
        scale = self.options.scale
        with_prompt, without = self._both(x_t, t)
        return Estimate(
            clean=without.clean + scale * (with_prompt.clean - without.clean),
            noise=without.noise + scale * (with_prompt.noise - without.noise),
            passes=with_prompt.passes + without.passes,
        )

    def _both(self, x_t: Tensor, t: float) -> tuple[Estimate, Estimate]:
        if self.batched is None:
            return self.conditional(x_t, t), self.unconditional(x_t, t)
        pair = self.batched(torch.cat((x_t, x_t)), t)
        (clean, clean_without), (noise, noise_without) = pair.clean.chunk(2), pair.noise.chunk(2)
        return Estimate(clean, noise), Estimate(clean_without, noise_without)

    def read_on(self, schedule: Schedule) -> Guided:
        """All denoisers, read on another schedule."""
        return replace(
            self,
            conditional=self.conditional.read_on(schedule),
            unconditional=self.unconditional.read_on(schedule),
            batched=None if self.batched is None else self.batched.read_on(schedule),
        )

"""Coherence guidance (the paper's eq. 12): a segment's noise is pulled towards that of the segment before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from confiner_cli.method.schedule import Estimate, NoiseSchedule
from confiner_cli.method.walk import Denoiser


@dataclass(frozen=True)
class Coherent:
    """`eps - 2 gamma (eps - eps_prev)`: a gradient step on `|eps - eps_prev|^2`, in closed form.

    Attributes:
        denoiser: the expert, guided if it is.
        previous: by timestep, the noise that the segment before stepped with (its own coherence included), shaped like
            the sample, its frames already put where they are to pull.
        gamma: 0 changes nothing, 0.5 puts the previous noise in the place of this one's.
    """

    denoiser: Denoiser
    previous: Mapping[int, Tensor]
    gamma: float

    @property
    def schedule(self) -> NoiseSchedule:
        """The expert's."""
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, t: int) -> Estimate:
        """The pulled estimate of `x_t`; its clean latents are what the pulled noise leaves of the sample."""
        found = self.denoiser(x_t, t)
        eps = found.noise - 2 * self.gamma * (found.noise - self.previous[t])
        signal, noise = self.schedule.level(t)
        return replace(found, clean=(x_t - noise * eps) / signal, noise=eps)

    def read_on(self, schedule: NoiseSchedule) -> Coherent:
        """The same pull on another schedule."""
        return replace(self, denoiser=self.denoiser.read_on(schedule))

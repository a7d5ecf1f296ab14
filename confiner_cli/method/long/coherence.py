"""Coherence guidance (eq. 12): a segment's noise is pulled towards that of the segment before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from confiner_cli.method.estimate import Estimate, clean_left
from confiner_cli.method.schedule import Schedule
from confiner_cli.method.walk import Denoiser


@dataclass(frozen=True)
class Coherent:
    """`eps - 2 gamma (eps - eps_prev)`: a gradient step on `|eps - eps_prev|^2`, in closed form.

    Attributes:
        denoiser: the expert, guided if it is.
        previous: the noise that the segment before had in the same step (its own coherence
            included), shaped like the sample, its frames already put where they are to pull.
        gamma: 0 changes nothing, 0.5 puts the previous noise in the place of this one's.
    """

    denoiser: Denoiser
    previous: Tensor
    gamma: float

    @property
    def schedule(self) -> Schedule:
        """The expert's."""
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        """The pulled estimate of `x_t`; its clean latents are what the pulled noise leaves of it.

        Of pure noise nothing is left, so there the clean latents stay the expert's.
        """
        found, level = self.denoiser(x_t, t), self.schedule.level(t)
        eps = found.noise - 2 * self.gamma * (found.noise - self.previous)
        clean = clean_left(x_t, eps, level) if level.signal > 0 else found.clean
        return replace(found, clean=clean, noise=eps)

    def read_on(self, schedule: Schedule) -> Coherent:
        """The same pull on another schedule."""
        return replace(self, denoiser=self.denoiser.read_on(schedule))

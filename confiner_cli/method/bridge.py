"""The bridge between two latent spaces: frames.

ConFiner's experts meet at the predicted clean video. Where they share a latent space it is handed
on as latents; where they do not, as frames. Nothing noisy has to cross, since a sample that arrives
with fresh noise alone needs no more than its clean latents. No torch: a config names bridges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from confiner_cli.method.estimate import Estimate
from confiner_cli.method.solvers import Solver
from confiner_cli.method.tensor import Tensor
from confiner_cli.method.walk import Denoiser, Evaluation, Visit


class Coding(Protocol):
    """A latent space's way to frames and back."""

    def decode(self, latents: Tensor) -> Tensor:
        """`(sample, channel, frame, height, width)` to pixels `(sample, 3, frame, ...)`.

        They are float32, in [-1, 1].
        """

    def encode(self, pixels: Tensor) -> Tensor:
        """The other direction, without noise."""


@dataclass(frozen=True)
class Crossing:
    """A solver that takes the estimate over into the latent space of whoever is asked next.

    Attributes:
        solve: makes the estimate that is taken over.
        here, there: the two spaces' codings.
        roles: who works in the space that it goes to.
        residual: whether, coming back to that space, only what has changed since is taken over:
            `clean + E(D'(refined)) - E(D'(given))`, where `clean` is the estimate that was left
            there, `given` what became of it on arrival here, and `refined` this one. An expert that
            changes nothing changes nothing, whatever the two codings lose. Else, and on a first
            arrival, it is `E(D'(refined))`.
    """

    solve: Solver
    here: Coding
    there: Coding
    roles: frozenset[str]
    residual: bool = True

    def __call__(self, history: Sequence[Evaluation]) -> Estimate:
        """The estimate in the other space; of its noise nothing is known there."""
        refined = self.solve(history)
        clean = self.there.encode(self.here.decode(refined.clean))
        left = self._left_there(history) if self.residual else None
        if left is not None and left.left is not None:
            given = self.there.encode(self.here.decode(left.left))
            clean = left.estimate.clean + clean - given
        return replace(refined, clean=clean, noise=clean.new_zeros(clean.shape))

    def _left_there(self, history: Sequence[Evaluation]) -> Evaluation | None:
        """The last evaluation over there."""
        there = (each for each in reversed(history) if each.visit.role in self.roles)
        return next(there, None)


def bridged(
    visits: Sequence[Visit[Denoiser]], codings: Mapping[str, Coding], residual: bool
) -> list[Visit[Denoiser]]:
    """The same visits, each of which crosses where the next one is in another latent space.

    Args:
        visits: those of a walk.
        codings: by role; experts that share a space share its coding.
        residual: as `Crossing.residual`.

    Raises:
        ValueError: a visit in another space wants some of the noise that was predicted here.
    """
    crossed = list(visits)
    for number, (visit, after) in enumerate(pairwise(visits)):
        here, there = codings[visit.role], codings[after.role]
        if here is there:
            continue
        if after.eta != 1:
            raise ValueError("who crosses to another latent space arrives with fresh noise alone")
        roles = frozenset(role for role, coding in codings.items() if coding is there)
        crossing = Crossing(visit.solve, here, there, roles, residual)
        crossed[number] = replace(visit, solve=crossing)
    return crossed

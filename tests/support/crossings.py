"""Walks to and fro between two latent spaces, with experts that change nothing."""

from dataclasses import dataclass, replace

import torch

from confiner_cli.method.bridge import bridged
from confiner_cli.method.estimate import Estimate
from confiner_cli.method.flow import Flow
from confiner_cli.method.schedule import scaled_linear
from confiner_cli.method.walk import Visit, walk


@dataclass(frozen=True, eq=False)
class Unchanging:
    """Says that what it was given is clean, whatever noise is on it.

    Attributes:
        schedule: its own.
        given: for each visit, in order, the clean latents that arrived.
    """

    schedule: object
    given: list

    def __call__(self, x_t, t):
        return Estimate(self.given[-1], torch.zeros_like(x_t))

    def read_on(self, schedule):
        return replace(self, schedule=schedule)


def there_and_back(start, here, there, residual, crossings):
    """How far clean latents move in so many crossings, in shares of their deviation.

    Args:
        start: in the space of `here`.
        here: a `bridge.Coding`, of the space that the walk begins and ends in.
        there: that of the other space.
        residual: the form of the bridge.
        crossings: how many, an even number.
    """
    given = [start]
    one, other = Unchanging(Flow(), given), Unchanging(scaled_linear(), given)
    visits = [Visit("temporal", one, 10.0 * crossings, 1.0)]
    for t in range(crossings // 2, 0, -1):
        visits += [Visit("spatial", other, 10.0 * t, 1.0), Visit("temporal", one, 10.0 * t, 1.0)]
    visits = bridged(visits, {"temporal": here, "spatial": there}, residual)
    visits = [replace(visit, solve=_told(visit.solve, given)) for visit in visits]
    *_, last = walk(start, visits, fresh=lambda number: torch.randn_like(given[-1]))
    return float((last.x_t - start).std() / start.std())


def _told(solve, given):
    """The solver, which tells whoever is next what arrives."""

    def solved(history):
        found = solve(history)
        given.append(found.clean)
        return found

    return solved

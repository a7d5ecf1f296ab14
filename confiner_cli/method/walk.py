"""The one sampling loop. Who visits the sample, when, and with which noise, is data.

"Cross to the other expert through the clean video" and "take a DDIM step" are the same line: mix
the estimate's clean latents and noise at the level of whoever is next. With `eta` 0 on one expert's
timesteps it is DDIM, and Euler. Solvers of higher order replace the estimate; the line stays. So
does a crossing to another latent space (`bridge`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar

from confiner_cli.method.estimate import Estimate
from confiner_cli.method.schedule import CLEAN, Level, Schedule
from confiner_cli.method.tensor import Tensor


class Scheduled(Protocol):
    """What visits can be listed for: an expert, or what is known of one before it is loaded."""

    @property
    def schedule(self) -> Schedule:
        """The schedule whose timesteps it is called with."""

    def read_on(self, schedule: Schedule) -> Self:
        """The same, read as if it had been trained on another schedule (eq. 7 needs it)."""


class Denoiser(Scheduled, Protocol):
    """An expert that has been given its prompt."""

    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        """Estimate clean latents and noise of a sample.

        Args:
            x_t: the sample, `(batch, channel, frame, height, width)`, at the level of `t`.
            t: the timestep, on this denoiser's schedule.
        """


Visited = TypeVar("Visited", bound=Scheduled)

MEMORY = 3
"""How many evaluations a solver is shown, the latest included: UniPC of order 2 needs three."""


def ddim(history: Sequence[Evaluation]) -> Estimate:
    """Go on from the last estimate: DDIM (Song et al., arXiv 2010.02502), and Euler."""
    return history[-1].estimate


@dataclass(frozen=True)
class Visit(Generic[Visited]):
    """One evaluation: who is asked at which timestep of its own schedule.

    Attributes:
        role: the expert's role, under which the evaluation is counted.
        denoiser: the expert, or, in a plan, what is known of it.
        t: the timestep, on the denoiser's schedule.
        eta: the share of fresh noise in the noise with which the walk arrives here, in [0, 1]:
            `sqrt(1 - eta^2) * predicted + eta * fresh`, which keeps the variance.
        solve: turns the last evaluations, of which this visit's is the last, into the estimate that
            the step continues from. DDIM takes that last one as it is; `solvers` and `blending`
            have others.
    """

    role: str
    denoiser: Visited
    t: float
    eta: float = 0.0
    solve: Callable[[Sequence[Evaluation]], Estimate] = ddim

    @property
    def level(self) -> Level:
        """The level that a sample must have on arrival."""
        return self.denoiser.schedule.level(self.t)


@dataclass(frozen=True)
class Evaluation:
    """What an expert was asked, and what it said.

    Attributes:
        visit: who was asked, at which timestep.
        x_t: the sample that it was shown, at `level`.
        estimate: what it said of it.
        next_level: the level that the walk goes to from here.
        left: the clean latents that the walk went on from, in the latent space of whoever was next;
            None as long as a solver has not decided that.
    """

    visit: Visit[Denoiser]
    x_t: Tensor
    estimate: Estimate
    next_level: Level
    left: Tensor | None = None

    @property
    def level(self) -> Level:
        """The level of the sample that was shown."""
        return self.visit.level


@dataclass(frozen=True)
class Step:
    """What one visit did: the expert's estimate, and the sample as it leaves for the next."""

    visit: Visit[Denoiser]
    estimate: Estimate
    x_t: Tensor


def walk(
    x_t: Tensor,
    visits: Sequence[Visit[Denoiser]],
    end: Level = CLEAN,
    fresh: Callable[[int], Tensor] | None = None,
) -> Iterator[Step]:
    """Walk a sample through the visits to the level `end`, yielding after each.

    Args:
        x_t: the sample at the first visit's level, any shape that the denoisers take.
        visits: who is asked, in order.
        end: where the walk ends: CLEAN, or timestep 0 of a schedule as diffusers' DDIM.
        fresh: noise shaped like the sample for the arrival at visit number `i`; needed where an
            `eta` is above 0.

    Raises:
        ValueError: a visit wants fresh noise and there is none to be had, or its solver wants more
            history than there is.
    """
    history: deque[Evaluation] = deque(maxlen=MEMORY - 1)
    for number, visit in enumerate(visits, start=1):
        # The step ends at the level of whoever is asked next, on that expert's own schedule.
        level, eta = end, 0.0
        if number < len(visits):
            level, eta = visits[number].level, visits[number].eta
        estimate = visit.denoiser(x_t, visit.t)
        evaluation = Evaluation(visit, x_t, estimate, level)
        solved = visit.solve((*history, evaluation))
        history.append(replace(evaluation, left=solved.clean))
        eps = solved.noise
        if eta > 0:
            if fresh is None:
                raise ValueError(
                    f"visit {number} arrives with eta {eta}, but the walk was given no fresh noise"
                )
            eps = (1 - eta**2) ** 0.5 * eps + eta * fresh(number)
        x_t = level.mix(solved.clean, eps)
        yield Step(visit, estimate, x_t)

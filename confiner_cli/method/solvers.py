"""Solvers: what a walk goes on from, as functions of its last evaluations.

A solver of higher order needs no loop of its own. Between two levels a step of first order is

    x_next = signal_next * clean + noise_next * (x_t - signal * clean) / noise

and what solvers of clean latents add is another `clean` (and, with a corrector, another `x_t`) in
that line. Time is the half log-SNR, `lambda = log(signal / noise)`; `h` is a step's length in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from confiner_cli.method.estimate import Estimate, noise_left
from confiner_cli.method.schedule import Level
from confiner_cli.method.tensor import Tensor
from confiner_cli.method.walk import Evaluation, ddim

Solver: TypeAlias = Callable[[Sequence[Evaluation]], Estimate]


def dpmpp_2m(history: Sequence[Evaluation]) -> Estimate:
    """DPM-Solver++(2M) (Lu et al., arXiv 2211.01095, algorithm 2).

    The step goes on from clean latents extrapolated to its middle, on the line through the last two
    estimates. It is of first order where there is one estimate alone, and where it leads to clean,
    as in diffusers (`solver_order=2, final_sigmas_type="zero"`).
    """
    own = unbroken(history)
    if len(own) == 1:
        return ddim(own)
    now, clean = own[-1], _extrapolated(own)
    return replace(now.estimate, clean=clean, noise=noise_left(now.x_t, clean, now.level))


def unipc(history: Sequence[Evaluation]) -> Estimate:
    """UniPC of order 2 (Zhao et al., arXiv 2302.04867), diffusers' with `solver_type="bh2"`.

    Its predictor (UniP-2) is DPM-Solver++(2M). Its corrector (UniC) moves the sample that the step
    starts from to where the step before would have led, had it known this visit's estimate. The
    estimate itself stays that of the sample which was shown: a corrector costs no evaluation.
    """
    own = unbroken(history)
    if len(own) == 1:
        return ddim(own)
    now, clean = own[-1], _extrapolated(own)
    return replace(now.estimate, clean=clean, noise=noise_left(_corrected(own), clean, now.level))


SOLVERS: dict[str, Solver] = {"ddim": ddim, "dpmpp_2m": dpmpp_2m, "unipc": unipc}


def unbroken(history: Sequence[Evaluation]) -> Sequence[Evaluation]:
    """The end of a history in which one expert has followed one path down.

    Where fresh noise came in, the steps before were on another path; another expert has another
    opinion of where it leads.
    """
    start = len(history) - 1
    while start > 0 and _continues(history[start - 1], history[start]):
        start -= 1
    return history[start:]


def _continues(before: Evaluation, now: Evaluation) -> bool:
    same_path = now.visit.role == before.visit.role and now.visit.eta == 0
    return same_path and _step(before.level, now.level) > 0


def _step(start: Level, end: Level) -> float:
    """`h`: how far it is from one level to the next; infinite from pure noise, and to clean."""
    return start.log_ratio - end.log_ratio


def _extrapolated(own: Sequence[Evaluation]) -> Tensor:
    """`clean + (clean - clean_before) / (2 r)`, with `r = h_before / h`."""
    now = own[-1]
    clean = now.estimate.clean
    if len(own) == 1 or now.next_level.noise == 0:
        return clean  # nothing to extrapolate from, or infinitely far to
    before = own[-2]
    ahead = _step(now.level, now.next_level) / _step(before.level, now.level)
    return clean + (ahead / 2) * (clean - before.estimate.clean)


def _corrected(own: Sequence[Evaluation]) -> Tensor:
    """The sample of the last visit, corrected by its estimate; `own` has two visits or more.

    The step that led to it was linear in the clean latents that it went on from. With others in
    their place it would have led elsewhere by the difference, times their weight in the step.
    """
    before, now = own[-2], own[-1]
    weight = now.level.signal - now.level.noise * before.level.signal / before.level.noise
    return now.x_t + weight * (_interpolated(own) - _extrapolated(own[:-1]))


def _interpolated(own: Sequence[Evaluation]) -> Tensor:
    """The clean latents that the step to the last visit should have gone on from.

    With the last two it is UniC-1, their mean. With the last three it is UniC-2,
    `clean_1 + rho_0 (clean_0 - clean_1) / r + rho_2 (clean_2 - clean_1)`, where the step is from
    lambda_1 to lambda_2 and `r = (lambda_0 - lambda_1) / h` is negative.
    """
    start, end = own[-2].estimate.clean, own[-1].estimate.clean
    if len(own) == 2:
        return start + 0.5 * (end - start)
    h = _step(own[-2].level, own[-1].level)
    r = -_step(own[-3].level, own[-2].level) / h
    first, second = _b(h)
    rho = (first - second) / (1 - r)
    earlier = own[-3].estimate.clean
    return start + (rho / r) * (earlier - start) + (first - rho) * (end - start)


def _b(h: float) -> tuple[float, float]:
    """`b_k = k! phi_(k+1)(-h) (-h)^k / B(h)`: the right side of UniC's two equations.

    They are `rho_0 + rho_2 = b_1` and `r rho_0 + rho_2 = b_2`, with `B(h) = e^-h - 1`.
    """
    scale = math.expm1(-h)
    first = scale / -h - 1
    second = first / -h - 0.5
    return first / scale, 2 * second / scale

"""Experts of different families in one refinement: what is forced there, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from confiner_cli.config.bounds import one_of
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.spec import FLOW, ExpertSpec
from confiner_cli.method.options import BRIDGES, RefinementOptions
from confiner_cli.method.planned import PlannedExpert
from confiner_cli.method.refinement import PATTERNS, refinement_visits
from confiner_cli.method.walk import Visit

KEY = "scheduler.refinement"


def across_families(refinement: RefinementOptions, settings: Settings) -> RefinementOptions:
    """The options as they are where the refining experts have little in common.

    A timestep of a flow model and one of a schedule of betas are different things, so their visits
    are matched by noise-to-signal ratio. And to another latent space no noise crosses.

    Raises:
        ConfinerError: a visit would need some.
    """
    one_of(f"{KEY}.bridge", settings.scheduler.refinement.bridge, BRIDGES)
    experts = settings.experts.by_role()
    if not {"spatial", "temporal"} <= experts.keys():
        return refinement
    if len({expert.prediction_type == FLOW for expert in _refining(experts)}) > 1:
        refinement = replace(refinement, timestep_matching="snr")
    if len({expert.latent_space for expert in _refining(experts)}) > 1:
        _check_crossings(refinement, experts)
    return refinement


def _refining(experts: Mapping[str, ExpertSpec]) -> tuple[ExpertSpec, ExpertSpec]:
    return experts["spatial"], experts["temporal"]


def _check_crossings(refinement: RefinementOptions, experts: Mapping[str, ExpertSpec]) -> None:
    if all(eta == 1 for eta in _arrivals(refinement, experts)):
        return
    spaces = " and ".join(expert.latent_space for expert in _refining(experts))
    why = f"the experts are in different latent spaces ({spaces}), and no noise crosses"
    if all(eta == 1 for eta in _arrivals(replace(refinement, renoise=1.0), experts)):
        raise ConfinerError(
            f"{KEY}.hop_noise= is {refinement.renoise:g} of fresh noise: {why}",
            f"{KEY}.hop_noise=fresh",
        )
    steps = len(refinement.patterns)
    fit = (
        name
        for name in PATTERNS
        if all(eta == 1 for eta in _arrivals(_fresh(name, steps), experts))
    )
    raise ConfinerError(
        f"{KEY}.pattern={', '.join(dict.fromkeys(refinement.patterns))} goes over to the other "
        f"expert without fresh noise: {why}",
        f"{KEY}.pattern= one of {', '.join(fit)}, with hop_noise=fresh",
    )


def _fresh(pattern: str, steps: int) -> RefinementOptions:
    return RefinementOptions(patterns=(pattern,) * max(2, steps))


def _arrivals(refinement: RefinementOptions, experts: Mapping[str, ExpertSpec]) -> Iterator[float]:
    """The share of fresh noise of each arrival in another latent space."""
    spatial, temporal = (PlannedExpert(expert.schedule) for expert in _refining(experts))
    visits: list[Visit[PlannedExpert]] = refinement_visits(refinement, spatial, temporal)
    for visit, after in pairwise(visits):
        if experts[visit.role].latent_space != experts[after.role].latent_space:
            yield after.eta

"""Which experts a run asks, and of which something is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from confiner_cli.config.schema import ROLES, Settings
from confiner_cli.experts.spec import requirements
from confiner_cli.weights.model_ref import Requirement


def structure_roles(settings: Settings) -> tuple[str, ...]:
    """The expert that samples the structure: none where a video is given in its place."""
    return () if settings.structure.video else (settings.scheduler.structure.expert,)


def refining_roles(settings: Settings) -> tuple[str, ...]:
    """The experts that the refinement may ask."""
    return ("spatial", "temporal") if settings.scheduler.refinement.num_inference_steps else ()


def used_roles(settings: Settings) -> tuple[str, ...]:
    """The experts that are asked at all, control first."""
    asked = {*structure_roles(settings), *refining_roles(settings)}
    return tuple(role for role in ROLES if role in asked)


def loaded_roles(settings: Settings) -> tuple[str, ...]:
    """The roles of which something is loaded: those that are asked, and the spatial one, which brings the VAE."""
    return tuple(dict.fromkeys((*used_roles(settings), "spatial")))


def required_models(settings: Settings) -> Iterator[tuple[Requirement, str]]:
    """The models that a run loads something of, each with its licence as it is published."""
    for role in loaded_roles(settings):
        spec = settings.expert(role)
        for _, requirement in requirements(role, spec):
            yield requirement, spec.licence

"""Which experts a run asks, and of which something is loaded."""

from __future__ import annotations

from confiner_cli.config.schema import ROLES, Settings


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

"""The experts' settings held to what there is: families, schedules, latent spaces, files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from confiner_cli.config.bounds import in_range, one_of
from confiner_cli.config.schema import ROLES, ExpertSetSettings, Settings
from confiner_cli.config.vocabulary import read_vocabulary
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.families import FAMILIES
from confiner_cli.experts.spec import ExpertSpec, requirements
from confiner_cli.method.estimate import PREDICTION_TYPES
from confiner_cli.method.schedule import BETA_SCHEDULES
from confiner_cli.weights.model_ref import absolute

PREVIEW = "preview"
"""What `output.structure=` says where structures are decoded by the spatial expert's `preview`."""
STRUCTURES = ("full", PREVIEW)
"""What it takes beside False."""


def check_experts(experts: ExpertSetSettings) -> None:
    """Refuse experts that no code of ours could be.

    Raises:
        ConfinerError: a value that cannot be used, named with its key.
    """
    for role in ROLES:
        _check_expert(f"experts.{role}", experts.role(role))
        if role != "spatial" and experts.role(role).preview is not None:
            raise ConfinerError(
                f"experts.{role}.preview= is not used: the spatial expert brings the decoders",
                f"experts.spatial.preview={experts.role(role).preview}",
            )


def with_absolute_places(experts: ExpertSetSettings) -> ExpertSetSettings:
    """The same experts, what is named of them on this machine by absolute paths.

    A record is read from other folders, too.
    """
    return replace(
        experts,
        control=_absolute_places(experts.control),
        spatial=_absolute_places(experts.spatial),
        temporal=_absolute_places(experts.temporal),
        knows=absolute(experts.knows) if experts.knows else None,
    )


def _absolute_places(expert: ExpertSpec) -> ExpertSpec:
    return replace(
        expert,
        model=absolute(expert.model),
        shared=absolute(expert.shared) if expert.shared else None,
        motion_adapter=absolute(expert.motion_adapter) if expert.motion_adapter else None,
        preview=absolute(expert.preview) if expert.preview else None,
        loras=[replace(lora, path=absolute(lora.path)) for lora in expert.loras],
        embeddings=[replace(word, path=absolute(word.path)) for word in expert.embeddings],
    )


def checked_places(settings: Settings, loaded: Sequence[str]) -> Mapping[str, ExpertSpec]:
    """The experts of these roles, where they go together and what is named of them exists here.

    Raises:
        ConfinerError: they work in different latent spaces, or a path is not there.
    """
    if settings.experts.knows is not None:
        read_vocabulary(settings.experts.knows)
    steps = settings.scheduler.structure.num_inference_steps
    experts = {role: settings.experts.role(role).for_steps(steps) for role in loaded}
    experts["spatial"] = _with_needed_preview(settings, experts["spatial"])
    _check_latent_space(experts)
    for role, expert in experts.items():
        _check_paths(role, expert)
    return experts


def _with_needed_preview(settings: Settings, spatial: ExpertSpec) -> ExpertSpec:
    """The spatial expert with its preview decoder, where the run has a use for one."""
    if settings.output.structure != PREVIEW:
        return replace(spatial, preview=None)
    if spatial.preview is None:
        raise ConfinerError(
            f"output.structure={PREVIEW}: {settings.experts.name} has no preview decoder",
            "output.structure=full or false, or experts.spatial.preview= a folder with an "
            "AutoencoderTiny for its latents, such as TAESD",
        )
    return spatial


def _check_expert(key: str, expert: ExpertSpec) -> None:
    one_of(f"{key}.family", expert.family, FAMILIES)
    one_of(f"{key}.beta_schedule", expert.beta_schedule, BETA_SCHEDULES)
    one_of(f"{key}.prediction_type", expert.prediction_type, PREDICTION_TYPES)
    if expert.rescale_betas_zero_snr and expert.prediction_type == "epsilon":
        raise ConfinerError(
            f"{key}.rescale_betas_zero_snr=true begins with pure noise, of which an epsilon "
            "prediction says nothing",
            f"{key}.prediction_type=v_prediction, if the expert was trained for it",
        )
    in_range(f"{key}.guidance_scale", expert.guidance_scale, 0, 100)
    in_range(f"{key}.clip_skip", expert.clip_skip, 0, math.inf)
    _check_tokens(key, [embedding.token for embedding in expert.embeddings])
    in_range(f"{key}.max_frames", expert.max_frames, 1, math.inf)
    in_range(f"{key}.num_train_timesteps", expert.num_train_timesteps, 2, 100_000)
    if not 0 < expert.beta_start <= expert.beta_end < 1:
        raise ConfinerError(
            f"{key}.beta_start={expert.beta_start} and beta_end={expert.beta_end} are no noise "
            "schedule",
            "0 < beta_start <= beta_end < 1",
        )


def _check_tokens(key: str, tokens: Sequence[str]) -> None:
    for token in tokens:
        if not token or token.split() != [token]:
            raise ConfinerError(
                f"{key}.embeddings: the token {token!r} is no word",
                'a token has no white space in it: token:"<my-word>"',
            )
        if tokens.count(token) > 1:
            raise ConfinerError(
                f"{key}.embeddings has the token {token} twice", "give each a name of its own"
            )


def _check_latent_space(experts: Mapping[str, ExpertSpec]) -> None:
    shared = experts["spatial"].latent_space
    for role, expert in experts.items():
        if expert.latent_space != shared:
            raise ConfinerError(
                f"experts.{role} works in the latents of {expert.latent_space}, and "
                f"experts.spatial, which brings the VAE, in those of {shared}",
                "all experts of a set must share one latent space: choose others",
            )


def _check_paths(role: str, expert: ExpertSpec) -> None:
    for name, requirement in requirements(role, expert):
        path = requirement.ref.path
        if path is not None and not path.exists():
            raise ConfinerError(
                f"experts.{role}.{name}: there is no {path.absolute()}",
                "name a folder in diffusers' layout, a file, or owner/name[@revision] on the hub",
            )

"""The experts' settings held to what there is: families, schedules, latent spaces, files."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from confiner_cli.config.bounds import in_range, one_of
from confiner_cli.config.schema import ExpertSetSettings, Settings
from confiner_cli.config.vocabulary import read_vocabulary
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.families import FAMILIES
from confiner_cli.experts.latent_spaces import LATENT_SPACES
from confiner_cli.experts.spec import FLOW, ExpertSpec, requirements, sharing_vaes
from confiner_cli.method.estimate import PREDICTION_TYPES
from confiner_cli.method.refinement import RENOISE
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
    specs = sharing_vaes(experts.by_role())
    for role, expert in specs.items():
        _check_expert(f"experts.{role}", expert)
        if expert.preview is not None and not expert.vae:
            brings = next(other for other, its in specs.items() if _is_vae_of(its, expert))
            raise ConfinerError(
                f"experts.{role}.preview= is not used: the {brings} expert brings the decoders",
                f"experts.{brings}.preview={expert.preview}",
            )


def _is_vae_of(spec: ExpertSpec, other: ExpertSpec) -> bool:
    return bool(spec.vae) and spec.latent_space == other.latent_space


def with_absolute_places(experts: ExpertSetSettings) -> ExpertSetSettings:
    """The same experts, what is named of them on this machine by absolute paths.

    A record is read from other folders, too.
    """
    known = {role: _absolute_places(expert) for role, expert in experts.by_role().items()}
    return replace(
        experts,
        control=known.get("control"),
        spatial=known.get("spatial"),
        temporal=known.get("temporal"),
        knows=absolute(experts.knows) if experts.knows else None,
    )


def _absolute_places(expert: ExpertSpec) -> ExpertSpec:
    return replace(
        expert,
        model=absolute(expert.model),
        shared=absolute(expert.shared) if expert.shared else None,
        text_encoder=absolute(expert.text_encoder) if expert.text_encoder else None,
        motion_adapter=absolute(expert.motion_adapter) if expert.motion_adapter else None,
        preview=absolute(expert.preview) if expert.preview else None,
        loras=[replace(lora, path=absolute(lora.path)) for lora in expert.loras],
        embeddings=[replace(word, path=absolute(word.path)) for word in expert.embeddings],
    )


def checked_places(settings: Settings, asked: Collection[str]) -> Mapping[str, ExpertSpec]:
    """The experts that are loaded: those of the roles that are asked, and whose VAEs they share.

    What is named of them exists here.

    Raises:
        ConfinerError: a path is not there.
    """
    if settings.experts.knows is not None:
        read_vocabulary(settings.experts.knows)
    known = sharing_vaes(settings.experts.by_role())
    spaces = {known[role].latent_space for role in asked}
    steps = settings.scheduler.structure.num_inference_steps
    experts = {
        role: _with_needed_preview(settings, spec.for_steps(steps))
        for role, spec in known.items()
        if role in asked or (spec.vae and spec.latent_space in spaces)
    }
    for role, expert in experts.items():
        _check_paths(role, expert)
    return experts


def _with_needed_preview(settings: Settings, expert: ExpertSpec) -> ExpertSpec:
    """An expert with the preview decoder of its VAE, where the run has a use for one."""
    if settings.output.structure != PREVIEW or not expert.vae:
        return replace(expert, preview=None)
    if expert.preview is None:
        raise ConfinerError(
            f"output.structure={PREVIEW}: {settings.experts.name} has no preview decoder",
            "output.structure=full or false, or experts.spatial.preview= a folder with an "
            "AutoencoderTiny for its latents, such as TAESD",
        )
    return expert


def _check_expert(key: str, expert: ExpertSpec) -> None:
    one_of(f"{key}.family", expert.family, FAMILIES)
    one_of(f"{key}.prediction_type", expert.prediction_type, PREDICTION_TYPES)
    one_of(f"{key}.latent_space", expert.latent_space, LATENT_SPACES)
    one_of(f"{key}.step_noise", expert.step_noise, RENOISE)
    in_range(f"{key}.num_train_timesteps", expert.num_train_timesteps, 2, 100_000)
    if expert.prediction_type == FLOW:
        _check_flow(key, expert)
    else:
        _check_betas(key, expert)
    in_range(f"{key}.guidance_scale", expert.guidance_scale, 0, 100)
    in_range(f"{key}.clip_skip", expert.clip_skip, 0, math.inf)
    _check_tokens(key, [embedding.token for embedding in expert.embeddings])
    in_range(f"{key}.max_frames", expert.max_frames, 1, math.inf)


def _check_flow(key: str, expert: ExpertSpec) -> None:
    stated = {
        "beta_schedule": expert.beta_schedule,
        "beta_start": expert.beta_start,
        "beta_end": expert.beta_end,
        "rescale_betas_zero_snr": expert.rescale_betas_zero_snr or None,
    }
    for name, value in stated.items():
        if value is not None:
            raise ConfinerError(
                f"{key}.{name}={str(value).lower()}: a flow model has no betas",
                f"{key}.{name}={'false' if value is True else 'null'}, and {key}.flow_shift=",
            )
    if expert.flow_shift is not None:
        in_range(f"{key}.flow_shift", expert.flow_shift, 0.01, 100)
    _check_dynamic_shift(key, expert)


def _check_dynamic_shift(key: str, expert: ExpertSpec) -> None:
    if (expert.base_shift is None) != (expert.max_shift is None):
        raise ConfinerError(
            f"{key} has one of base_shift= and max_shift= alone",
            f"{key}.base_shift=0.5 {key}.max_shift=1.15, or {key}.flow_shift=",
        )
    if expert.base_shift is not None and expert.flow_shift is not None:
        raise ConfinerError(
            f"{key}.flow_shift= and base_shift= are two shifts", f"{key}.flow_shift=null"
        )
    if expert.max_image_seq_len <= expert.base_image_seq_len:
        raise ConfinerError(
            f"{key}.max_image_seq_len={expert.max_image_seq_len} is not above "
            f"base_image_seq_len={expert.base_image_seq_len}",
            f"{key}.max_image_seq_len={expert.base_image_seq_len + 1} or more",
        )


def _check_betas(key: str, expert: ExpertSpec) -> None:
    one_of(f"{key}.beta_schedule", expert.beta_schedule, BETA_SCHEDULES)
    for name in ("flow_shift", "base_shift", "max_shift", "whole_timesteps"):
        if getattr(expert, name):
            raise ConfinerError(
                f"{key}.{name}= is of flow models, and {key}.prediction_type is "
                f"{expert.prediction_type}",
                f"{key}.prediction_type={FLOW}, if it is one",
            )
    start, end = expert.beta_start, expert.beta_end
    if start is None or end is None or not 0 < start <= end < 1:
        raise ConfinerError(
            f"{key}.beta_start={start} and beta_end={end} are no noise schedule",
            "0 < beta_start <= beta_end < 1",
        )
    if expert.rescale_betas_zero_snr and expert.prediction_type == "epsilon":
        raise ConfinerError(
            f"{key}.rescale_betas_zero_snr=true begins with pure noise, of which an epsilon "
            "prediction says nothing",
            f"{key}.prediction_type=v_prediction, if the expert was trained for it",
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


def _check_paths(role: str, expert: ExpertSpec) -> None:
    for name, requirement in requirements(expert):
        path = requirement.ref.path
        if path is not None and not path.exists():
            raise ConfinerError(
                f"experts.{role}.{name}: there is no {path.absolute()}",
                "name a folder in diffusers' layout, a file, or owner/name[@revision] on the hub",
            )

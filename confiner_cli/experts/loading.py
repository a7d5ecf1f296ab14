"""From specs to experts. Networks are loaded when they are called, into their owner's cache."""

from __future__ import annotations

import json
from types import ModuleType

import torch

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.components import COMMON, Components
from confiner_cli.experts.expert import Expert
from confiner_cli.experts.families import family_named
from confiner_cli.experts.network import family_network
from confiner_cli.experts.offload import NetworkCache, OffloadPolicy
from confiner_cli.experts.prompt_chunks import Chunking, verbatim
from confiner_cli.experts.spec import ExpertSpec, requirements
from confiner_cli.experts.text_loading import Reading, text_encoder
from confiner_cli.experts.vae import Decoder, Encoder, coder
from confiner_cli.weights import hub

STATED = ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "prediction_type")
"""What a pipeline folder's scheduler_config.json says of the schedule, in a spec's names, too."""


def load_expert(
    role: str,
    spec: ExpertSpec,
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
    cache: NetworkCache,
    chunking: Chunking = verbatim,
) -> Expert:
    """One expert, its files found and whole; its networks are loaded when they are called.

    Args:
        role: `control`, `spatial` or `temporal`.
        spec: what it is.
        device: where its networks compute.
        dtype: what they compute in.
        policy: who makes room for whom on the device.
        cache: owns the networks.
        chunking: how it reads prompts.

    Raises:
        ConfinerError: a component or an embedding is missing or damaged, or the model's folder
            states another schedule.
    """
    components, family = components_of(role, spec, device, dtype), family_named(spec.family)
    family.files(components)  # raises where one is missing or cut
    _check_width(role, components, family)
    if family.FOLDER_HAS_SCHEDULE:
        _check_schedule(role, spec, components)
    return Expert(
        role=role,
        network=family_network(spec.family, components, policy, cache),
        text=text_encoder(components, policy, cache, _reading(role, spec, chunking)),
        schedule=spec.schedule,
        prediction_type=spec.prediction_type,
        device=device,
        dtype=dtype,
        guidance_batched=policy.guidance_batched,
    )


def _reading(role: str, spec: ExpertSpec, chunking: Chunking) -> Reading:
    needed = [each for name, each in requirements(role, spec) if name == "embeddings"]
    tokens = [embedding.token for embedding in spec.embeddings]
    places = [hub.cached(each) for each in needed]
    return Reading(tuple(zip(tokens, places, strict=True)), spec.clip_skip, chunking)


def load_decoder(
    spec: ExpertSpec,
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
    cache: NetworkCache,
) -> Decoder:
    """The VAE of an expert set, which lies with its spatial expert, from latents to frames.

    Raises:
        ConfinerError: it is missing or damaged.
    """
    return coder(Decoder, components_of("spatial", spec, device, dtype), policy, cache)


def load_encoder(
    spec: ExpertSpec,
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
    cache: NetworkCache,
) -> Encoder:
    """The other direction of `load_decoder`'s VAE. Raises as it does."""
    return coder(Encoder, components_of("spatial", spec, device, dtype), policy, cache)


def components_of(
    role: str, spec: ExpertSpec, device: torch.device, dtype: torch.dtype
) -> Components:
    """Where the components of an expert lie: in its model's place, then in the shared one.

    Raises:
        ConfinerError: a model is on the hub and not in the cache.
    """
    places = [(name, hub.cached(needed)) for name, needed in requirements(role, spec)]
    loras = [place for name, place in places if name == "loras"]
    scales = [lora.scale for lora in spec.loras]
    return Components(
        role,
        folders=tuple(place for name, place in places if name in ("model", "shared")),
        device=device,
        dtype=dtype,
        named=tuple((name, place) for name, place in places if name == "motion_adapter"),
        architecture=spec.architecture or COMMON,
        pickles=spec.pickles,
        loras=tuple(zip(loras, scales, strict=True)),
    )


def _check_width(role: str, components: Components, family: ModuleType) -> None:
    """Hold the text encoder's width against what the UNet reads."""
    reads = family.text_width(components)
    writes = components.config("text_encoder").get("hidden_size")
    if reads != writes:
        raise ConfinerError(
            f"the {role} expert reads texts of width {reads}, its text encoder in "
            f"{components.place('text_encoder')} writes {writes}",
            f"experts.{role}.shared= names a place with the text encoder that it was trained with",
        )


def _check_schedule(role: str, spec: ExpertSpec, components: Components) -> None:
    """Hold our schedule against the one that a pipeline folder states."""
    path = components.folders[0] / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        return
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfinerError(
            f"{path} is no JSON", "mend it, or remove it: our own configs state the schedule"
        ) from error
    for name in STATED:
        ours = getattr(spec, name)
        theirs = stated.get(name, ours)
        if ours != theirs:
            raise ConfinerError(
                f"experts.{role}.{name}={ours}, but {path} says {theirs}",
                f"experts.{role}.{name}={theirs} if the folder is right about its own weights",
            )

"""From specs to experts. Each network is loaded when it is first called, once a process, and kept."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from functools import partial
from types import ModuleType

import torch
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from confiner_cli.errors import ConfinerError
from confiner_cli.experts import families
from confiner_cli.experts.components import COMMON, Components
from confiner_cli.experts.expert import Expert, Network
from confiner_cli.experts.lora import adapt_unet
from confiner_cli.experts.offload import Handle, OffloadPolicy
from confiner_cli.experts.spec import ExpertSpec, requirements
from confiner_cli.experts.text import text_encoder
from confiner_cli.experts.vae import Decoder, Encoder, coder
from confiner_cli.method.schedule import BETA_SCHEDULES
from confiner_cli.weights import hub

STATED = ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "prediction_type")
"""What a pipeline folder's scheduler_config.json says of the schedule, in a spec's names, too."""

# What matters of a failed load is in our own error; progress is ours to show.
diffusers_logging.set_verbosity_error()
diffusers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def load_expert(
    role: str, spec: ExpertSpec, device: torch.device, dtype: torch.dtype, policy: OffloadPolicy
) -> Expert:
    """One expert, its files found and whole, its networks loaded when they are called.

    Raises:
        ConfinerError: a component is missing or damaged, or the model's folder states another
            schedule.
    """
    components, family = components_of(role, spec, device, dtype), family_of(spec)
    family.files(components)  # raises where one is missing or cut
    _check_width(role, components, family)
    if family.FOLDER_HAS_SCHEDULE:
        _check_schedule(role, spec, components)
    betas = BETA_SCHEDULES[spec.beta_schedule]
    return Expert(
        role=role,
        network=_network(spec.family, family, components, policy),
        text=text_encoder(components, policy),
        schedule=betas(spec.beta_start, spec.beta_end, spec.num_train_timesteps),
        prediction_type=spec.prediction_type,
        guidance_scale=spec.guidance_scale,
        device=device,
        dtype=dtype,
        guidance_batched=policy.guidance_batched,
    )


def load_experts(
    specs: Iterable[tuple[str, ExpertSpec]],
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
) -> dict[str, Expert]:
    """The experts of the given roles. Raises as `load_expert`."""
    return {role: load_expert(role, spec, device, dtype, policy) for role, spec in specs}


def load_decoder(
    spec: ExpertSpec, device: torch.device, dtype: torch.dtype, policy: OffloadPolicy
) -> Decoder:
    """The VAE of an expert set, which lies with its spatial expert, from latents to frames.

    Raises:
        ConfinerError: it is missing or damaged.
    """
    return coder(Decoder, components_of("spatial", spec, device, dtype), policy)


def load_encoder(
    spec: ExpertSpec, device: torch.device, dtype: torch.dtype, policy: OffloadPolicy
) -> Encoder:
    """The other direction of `load_decoder`'s VAE. Raises as it does."""
    return coder(Encoder, components_of("spatial", spec, device, dtype), policy)


def family_of(spec: ExpertSpec) -> ModuleType:
    """The functions of an expert's family."""
    return importlib.import_module(f"{families.__name__}.{spec.family}")


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


def _network(
    name: str, family: ModuleType, components: Components, policy: OffloadPolicy
) -> Network:
    def load() -> nn.Module:
        return adapt_unet(family.load(components), components.loras)

    # By what is read from disk and nothing else: a sweep over guidance scales loads nothing twice.
    unet = Handle((name, components), components.role, components.device, policy, load)
    predict: Network = partial(_predict, family, unet)
    if family.FRAMEWISE and policy.frame_batch is not None:
        return partial(_by_frames, predict, policy.frame_batch)
    return predict


def _predict(family: ModuleType, unet: Handle, x_t: Tensor, t: int, text: Tensor) -> Tensor:
    prediction: Tensor = family.predict(unet(), x_t, t, text)
    return prediction


def _by_frames(predict: Network, count: int, x_t: Tensor, t: int, text: Tensor) -> Tensor:
    """A few frames at a time: the same prediction in less memory."""
    return torch.cat([predict(frames, t, text) for frames in torch.split(x_t, count, dim=2)], dim=2)


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

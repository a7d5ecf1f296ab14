"""From settings to experts. Each network is loaded when it is first called, once a process, and kept."""

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

from confiner_cli.config.schema import ExpertSettings
from confiner_cli.errors import ConfinerError
from confiner_cli.experts import families
from confiner_cli.experts.components import COMMON, Network, Parts
from confiner_cli.experts.expert import Expert
from confiner_cli.experts.lora import adapt_unet
from confiner_cli.experts.offload import Handle, Memory
from confiner_cli.experts.text import text_encoder
from confiner_cli.experts.vae import Decoder, Encoder, coder
from confiner_cli.weights import hub
from confiner_cli.weights.model_ref import needs

STATED = ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "prediction_type")

# What matters of a failed load is in our own error; progress is ours to show.
diffusers_logging.set_verbosity_error()
diffusers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def load_expert(
    role: str, settings: ExpertSettings, device: torch.device, dtype: torch.dtype, memory: Memory
) -> Expert:
    """One expert, its weights found and their files whole, its networks loaded when they are called.

    Raises:
        ConfinerError: a part is missing or damaged, or the model's folder states another schedule.
    """
    parts, family = parts_of(role, settings, device, dtype), family_of(settings)
    family.files(parts)
    _check_width(role, parts, family)
    if family.STATES_SCHEDULE:
        _compare(role, settings, parts)
    return Expert(
        role=role,
        network=_network(settings.family, family, parts, memory),
        text=text_encoder(parts, memory),
        schedule=settings.schedule,
        prediction_type=settings.prediction_type,
        guidance_scale=settings.guidance_scale,
        device=device,
        dtype=dtype,
        guidance_together=memory.guidance_together,
    )


def load_experts(
    settings: Iterable[tuple[str, ExpertSettings]],
    device: torch.device,
    dtype: torch.dtype,
    memory: Memory,
) -> dict[str, Expert]:
    """The experts of the given roles."""
    return {role: load_expert(role, chosen, device, dtype, memory) for role, chosen in settings}


def load_decoder(
    settings: ExpertSettings, device: torch.device, dtype: torch.dtype, memory: Memory
) -> Decoder:
    """The VAE of an expert set, which lies with its spatial expert."""
    return coder(Decoder, parts_of("spatial", settings, device, dtype), memory)


def load_encoder(
    settings: ExpertSettings, device: torch.device, dtype: torch.dtype, memory: Memory
) -> Encoder:
    """The other direction of `load_decoder`'s VAE."""
    return coder(Encoder, parts_of("spatial", settings, device, dtype), memory)


def family_of(settings: ExpertSettings) -> ModuleType:
    """The functions of an expert's family."""
    return importlib.import_module(f"{families.__name__}.{settings.family}")


def parts_of(
    role: str, settings: ExpertSettings, device: torch.device, dtype: torch.dtype
) -> Parts:
    """Where the parts of an expert lie: in its model's place, then in the one that it shares with others.

    Raises:
        ConfinerError: a model is on the hub and not in the cache.
    """
    places = [(name, hub.cached(need)) for name, need in needs(role, settings)]
    folders = tuple(place for name, place in places if name in ("model", "shared"))
    named = tuple((name, place) for name, place in places if name == "motion_adapter")
    loras = zip((place for name, place in places if name == "loras"), settings.loras, strict=True)
    scaled = tuple((place, lora.scale) for place, lora in loras)
    architecture = settings.architecture or COMMON
    return Parts(role, folders, device, dtype, named, architecture, settings.pickles, scaled)


def _network(name: str, family: ModuleType, parts: Parts, memory: Memory) -> Network:
    def load() -> nn.Module:
        return adapt_unet(family.load(parts), parts.loras)

    # By what is read from disk and nothing else: a sweep over guidance scales loads no weights twice.
    unet = Handle((name, parts), parts.role, parts.device, memory, load)
    predict: Network = partial(_predict, family, unet)
    if family.FRAMES_APART and memory.frame_batch is not None:
        return partial(_by_frames, predict, memory.frame_batch)
    return predict


def _predict(family: ModuleType, unet: Handle, x_t: Tensor, t: float, text: Tensor) -> Tensor:
    prediction: Tensor = family.predict(unet(), x_t, t, text)
    return prediction


def _by_frames(predict: Network, count: int, x_t: Tensor, t: float, text: Tensor) -> Tensor:
    """A few frames at a time: the same prediction in less memory."""
    return torch.cat([predict(frames, t, text) for frames in torch.split(x_t, count, dim=2)], dim=2)


def _check_width(role: str, parts: Parts, family: ModuleType) -> None:
    """Hold the text encoder's width against what the UNet reads."""
    reads, writes = family.text_width(parts), parts.config("text_encoder").get("hidden_size")
    if reads != writes:
        raise ConfinerError(
            f"the {role} expert reads texts of width {reads}, its text encoder in {parts.place('text_encoder')} writes "
            f"{writes}",
            f"experts.{role}.shared= names a place with the text encoder that it was trained with",
        )


def _compare(role: str, settings: ExpertSettings, parts: Parts) -> None:
    """Hold our schedule against the one that a pipeline folder states."""
    path = parts.folders[0] / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        return
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfinerError(
            f"{path} is no JSON", "mend it, or remove it: our own configs state the schedule"
        ) from error
    for name in STATED:
        ours, theirs = getattr(settings, name), stated.get(name, getattr(settings, name))
        if ours != theirs:
            raise ConfinerError(
                f"experts.{role}.{name}={ours}, but {path} says {theirs}",
                f"experts.{role}.{name}={theirs} if the folder is right about its own weights",
            )

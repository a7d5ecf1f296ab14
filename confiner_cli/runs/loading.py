"""A run made ready: experts loaded, given their prompt, and made a pipeline of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from confiner_cli.config.method_options import (
    long_video_options,
    refinement_options,
    structure_options,
    timeline_of,
)
from confiner_cli.config.roles import used_roles
from confiner_cli.config.schema import Settings
from confiner_cli.costs.memory import memory_of
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.device import device_of, dtype_of, free_memory
from confiner_cli.experts.loading import load_decoder, load_encoder, load_experts
from confiner_cli.experts.offload import Memory
from confiner_cli.experts.vae import Decoder
from confiner_cli.media.source_video import footage_of
from confiner_cli.method.long.timeline import Span
from confiner_cli.method.pipeline import Pipeline
from confiner_cli.runs.advice import notices
from confiner_cli.runs.source_latents import GivenStructure


@dataclass(frozen=True)
class Production:
    """All that is needed to make one video.

    Attributes:
        pipeline: what decides the latents.
        decoder: turns latents into frames.
        device: where the networks live.
        memory: which memory setting they live by.
        notices: one-line remarks about the prompt.
    """

    pipeline: Pipeline
    decoder: Decoder
    device: torch.device
    memory: str
    notices: tuple[str, ...]


def prepare(settings: Settings) -> Production:
    """Make ready the experts that checked settings need and give them the prompt.

    Raises:
        ConfinerError: a device that is not there, weights that are missing or damaged, a size that the VAE cannot make.
    """
    device = device_of(settings.device)
    dtype = dtype_of(settings.dtype, device)
    memory = memory_of(settings, free_memory(device), dtype.itemsize)
    roles = used_roles(settings)
    experts = load_experts(((role, settings.expert(role)) for role in roles), device, dtype, memory)
    decoder = load_decoder(settings.expert("spatial"), device, dtype, memory)
    low, high = settings.scheduler.guidance_interval
    prompts = {0: settings.prompt, **settings.prompts}
    denoisers = {
        role: {
            frame: expert.given(text, settings.negative_prompt, (low, high))
            for frame, text in prompts.items()
        }
        for role, expert in experts.items()
    }
    assert settings.seed is not None
    pipeline = Pipeline(
        denoisers=denoisers,
        structure=structure_options(settings),
        refinement=refinement_options(settings),
        timeline=timeline_of(settings),
        shape=_latent_shape(settings, decoder),
        seeds=(settings.seed,),
        long_video=long_video_options(settings),
        source_latents=_given(settings, device, dtype, memory),
    )
    return Production(pipeline, decoder, device, memory.name, tuple(notices(settings, experts)))


def _given(
    settings: Settings, device: torch.device, dtype: torch.dtype, memory: Memory
) -> Callable[[Span], Tensor] | None:
    if settings.structure.video is None:
        return None
    encoder = load_encoder(settings.expert("spatial"), device, dtype, memory)
    return GivenStructure(
        footage_of(Path(settings.structure.video).expanduser()), settings.size, encoder
    )


def _latent_shape(settings: Settings, decoder: Decoder) -> tuple[int, int, int]:
    for name, value in zip(("height", "width"), settings.size, strict=True):
        if value % decoder.factor:
            raise ConfinerError(
                f"{name}={value} is not a multiple of {decoder.factor}, the VAE's factor",
                f"{name}={value // decoder.factor * decoder.factor}",
            )
    height, width = settings.size
    return decoder.channels, height // decoder.factor, width // decoder.factor

"""A run made ready: experts loaded and given their prompt, the plan made. What the command line and Python share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from confiner_cli.config.roles import used_roles
from confiner_cli.config.schema import Settings
from confiner_cli.costs.memory import memory_of
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.device import device_of, dtype_of, free_memory
from confiner_cli.experts.expert import Expert
from confiner_cli.experts.loading import load_decoder, load_encoder, load_experts
from confiner_cli.experts.offload import NetworkCache, OffloadPolicy
from confiner_cli.experts.vae import Decoder
from confiner_cli.media.source_video import footage_of
from confiner_cli.method.long.timeline import Span, timeline_of
from confiner_cli.method.pipeline import Plan
from confiner_cli.runs.advice import notices
from confiner_cli.runs.source_latents import GivenStructure


@dataclass(frozen=True)
class Production:
    """All that is needed to make one video.

    Attributes:
        plan: what decides the latents.
        experts: by role, those that are asked.
        decoder: turns latents into frames.
        device: where the networks live.
        memory: which memory setting they live by.
        notices: one-line remarks about the prompt.
    """

    plan: Plan
    experts: Mapping[str, Expert]
    decoder: Decoder
    device: torch.device
    memory: str
    notices: tuple[str, ...]

    def load(self) -> None:
        """Load all networks now. Raises ConfinerError: weights are damaged."""
        for expert in self.experts.values():
            expert.load()
        self.decoder.load()


def prepare(settings: Settings, cache: NetworkCache) -> Production:
    """Make ready the experts that checked settings need and give them the prompt.

    Their networks are in the cache, which its owner closes.

    Raises:
        ConfinerError: a device that is not there, weights that are missing or damaged, a size that the VAE cannot make.
    """
    device = device_of(settings.device)
    dtype = dtype_of(settings.dtype, device)
    policy = memory_of(settings, free_memory(device), dtype.itemsize)
    roles = used_roles(settings)
    experts = load_experts(
        ((role, settings.expert(role)) for role in roles), device, dtype, policy, cache
    )
    decoder = load_decoder(settings.expert("spatial"), device, dtype, policy, cache)
    low, high = settings.scheduler.guidance_interval
    prompts = {0: settings.prompt, **settings.prompts}
    denoisers = {
        role: {
            frame: expert.condition(text, settings.negative_prompt, (low, high))
            for frame, text in prompts.items()
        }
        for role, expert in experts.items()
    }
    assert settings.seed is not None
    plan = Plan(
        denoisers=denoisers,
        scheduler=settings.scheduler,
        timeline=timeline_of(settings),
        shape=_latent_shape(settings, decoder),
        seed=settings.seed,
        long_video=settings.long_video,
        given=_given(settings, device, dtype, policy, cache),
    )
    remarks = tuple(notices(settings, experts))
    return Production(plan, experts, decoder, device, policy.name, remarks)


def _given(
    settings: Settings,
    device: torch.device,
    dtype: torch.dtype,
    policy: OffloadPolicy,
    cache: NetworkCache,
) -> Callable[[Span], Tensor] | None:
    if settings.structure.video is None:
        return None
    encoder = load_encoder(settings.expert("spatial"), device, dtype, policy, cache)
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

"""A run made ready: experts loaded and given their prompt, the plan made. What the command line and Python share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic

import torch
from torch import Tensor

from confiner_cli.check import used_roles
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.device import device_of, dtype_of, free_memory
from confiner_cli.experts.loading import load_decoder, load_experts
from confiner_cli.experts.vae import Decoder
from confiner_cli.generate import Plan
from confiner_cli.memory_need import memory_of
from confiner_cli.notices import notices
from confiner_cli.settings import Settings
from confiner_cli.timeline import Timeline
from confiner_cli.walk import Step


@dataclass(frozen=True)
class Production:
    """All that is needed to make one video.

    Attributes:
        plan: what decides the latents.
        decoder: turns latents into frames.
        device: where the networks live.
        memory: which memory setting they live by.
        notices: one-line remarks about the prompt.
    """

    plan: Plan
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
    roles = used_roles(settings.scheduler)
    experts = load_experts(((role, settings.expert(role)) for role in roles), device, dtype, memory)
    decoder = load_decoder(settings.expert("spatial"), device, dtype, memory)
    low, high = settings.scheduler.guidance_interval
    denoisers = {
        role: {0: expert.given(settings.prompt, settings.negative_prompt, (low, high))}
        for role, expert in experts.items()
    }
    assert settings.num_frames is not None and settings.seed is not None
    plan = Plan(
        denoisers=denoisers,
        scheduler=settings.scheduler,
        timeline=timeline_of(settings),
        shape=_latent_shape(settings, decoder),
        seed=settings.seed,
        long_video=settings.long_video,
    )
    return Production(plan, decoder, device, memory.name, tuple(notices(settings, experts)))


def timeline_of(settings: Settings) -> Timeline:
    """Where the structures and windows of a run lie, whose settings are resolved."""
    long_video = settings.long_video
    assert settings.num_frames is not None and long_video.segment_frames is not None
    overlap = 0 if settings.num_frames <= long_video.segment_frames else long_video.window_overlap
    return Timeline(settings.num_frames, long_video.segment_frames, overlap, long_video.staggered)


def _latent_shape(settings: Settings, decoder: Decoder) -> tuple[int, int, int]:
    assert settings.height is not None and settings.width is not None
    for name, value in (("height", settings.height), ("width", settings.width)):
        if value % decoder.factor:
            raise ConfinerError(
                f"{name}={value} is not a multiple of {decoder.factor}, the VAE's factor",
                f"{name}={value // decoder.factor * decoder.factor}",
            )
    return (decoder.channels, settings.height // decoder.factor, settings.width // decoder.factor)


@dataclass
class Meter:
    """What a run has cost so far: evaluations (denoiser calls), passes through networks, seconds a stage.

    `stage` is what it is doing.
    """

    evaluations: Counter[str] = field(default_factory=Counter)
    passes: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    stage: str = "load"

    def watch(self, stage: str, steps: Iterable[Step]) -> Iterator[Step]:
        """Pass the steps on and count them."""
        started, self.stage = monotonic(), stage
        for step in steps:
            self.evaluations[step.visit.role] += 1
            self.passes[step.visit.role] += step.estimate.passes
            self.seconds[stage] += monotonic() - started
            yield step
            started, self.stage = monotonic(), stage

    def decode(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pass decoded frames on and count the seconds that decoding takes."""
        started, self.stage = monotonic(), "decode"
        for frame in frames:
            self.seconds["decode"] += monotonic() - started
            yield frame
            started, self.stage = monotonic(), "decode"

"""Jobs made ready: experts loaded and given the prompts. What the command line and Python share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from confiner_cli.config.job import Job
from confiner_cli.costs.memory import policy_of
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.coded_space import CodedSpace, coded_space
from confiner_cli.experts.compiling import check_compiler
from confiner_cli.experts.device import device_of, dtype_of, free_memory
from confiner_cli.experts.expert import Expert
from confiner_cli.experts.forking import refuse_forked
from confiner_cli.experts.identity import Weights, weights_of
from confiner_cli.experts.loading import load_expert, load_preview
from confiner_cli.experts.offload import NetworkCache, OffloadPolicy
from confiner_cli.experts.prompt_chunks import verbatim
from confiner_cli.experts.prompt_weighting import weighted
from confiner_cli.experts.vae import Decoder
from confiner_cli.method.long.timeline import Span
from confiner_cli.method.pipeline import Pipeline
from confiner_cli.method.walk import Denoiser
from confiner_cli.runs.advice import advice, device_advice
from confiner_cli.runs.enough_memory import check_gpu, check_memory
from confiner_cli.runs.joining import Decode, InLatents, Joining, Whole
from confiner_cli.runs.joining_frames import InFrames
from confiner_cli.runs.source_frames import SourceFrames

Loading: TypeAlias = tuple[torch.device, torch.dtype, OffloadPolicy, NetworkCache]
"""Where networks go, in which precision, who makes room, and who owns them."""


@dataclass(frozen=True)
class LoadedPipeline:
    """All that is needed to make the videos of jobs that differ in their seeds alone.

    Attributes:
        job: the first of the jobs.
        pipeline: what decides the latents, a sample for each job.
        spaces: by role that is asked, the latent space that it works in.
        draft_decoder: makes frames of structures, to be looked at: their space's decoder, or a
            cheaper one.
        source: the frames of a span of the video that is given, if one is.
        experts: by role, those that are asked.
        policy: which networks stay on the device.
        notices: one-line remarks about the prompts, the steps and a given video.
        weights: the files that the experts are made of, hashed, by role.
        dtype: the precision that they compute in.
    """

    job: Job
    pipeline: Pipeline
    spaces: Mapping[str, CodedSpace]
    draft_decoder: Decoder
    source: Callable[[Span], Tensor] | None
    experts: Mapping[str, Expert]
    policy: OffloadPolicy
    notices: tuple[str, ...]
    weights: Mapping[str, Weights]
    dtype: torch.dtype

    @property
    def decoder(self) -> Decoder:
        """Makes frames of windows: of the space in which their walk ends."""
        return self.spaces[self.job.window_roles[1]].decoder

    def joining(self, decode: Decode) -> Joining:
        """How windows take their drafts, and the video its frames, `decode` being the decoder's."""
        timeline = self.pipeline.timeline
        match self.job.joins_in:
            case "latents":
                return InLatents(timeline, decode)
            case "whole":
                return Whole(timeline, decode)
            case "frames":
                draft = self.spaces[self.job.draft_role].decoder.parts
                encode = self.spaces[self.job.window_roles[0]].encoder
                return InFrames(timeline, draft, encode, decode, self.source)

    def load(self) -> None:
        """Load every network now, and not when it is first called.

        Raises:
            ConfinerError: weights that are damaged or those of another network.
        """
        for expert in self.experts.values():
            expert.load()
        for coded in self.spaces.values():
            coded.decoder.load()
        self.draft_decoder.load()


def load_pipeline(jobs: Sequence[Job], networks: NetworkCache) -> LoadedPipeline:
    """Make ready the experts that jobs need and give them the prompts.

    Args:
        jobs: one, or several that differ in their seeds alone.
        networks: what has been loaded before, and where the networks stay that are loaded now.

    Raises:
        ConfinerError: a device that is not there, weights that are missing, too little memory for
            them, a size that the VAE cannot make, or a process in which nothing can be computed.
    """
    refuse_forked()  # before a GPU is asked, which a fork cannot use either
    job = jobs[0]
    device = device_of(job.settings.device)
    dtype, compiling = dtype_of(job.settings.dtype, device), job.settings.compile
    check_compiler(compiling, device)
    check_gpu(job, device, dtype, len(jobs))
    policy = policy_of(job, free_memory(device), dtype.itemsize, batch=len(jobs))
    chunking = weighted if job.settings.prompt_weighting else verbatim
    loading = (device, dtype, policy, networks)
    experts = {
        role: load_expert(role, spec, *loading, chunking, compiling)
        for role, spec in job.experts.items()
        if role in job.asked
    }
    spaces = _coded_spaces(job, loading)
    drafting = job.vae_role(job.draft_role)
    draft_decoder = load_preview(drafting, job.experts[drafting], *loading, compiling)
    source = SourceFrames(job.source_videos[0], job.size) if job.source_videos else None
    may_be_short: tuple[str, ...] = ()
    if not networks.modules:  # else they have found their room
        may_be_short = check_memory(job, device, dtype, policy.name, len(jobs))
    pipeline = Pipeline(
        denoisers={role: _conditioned(job, role, expert) for role, expert in experts.items()},
        structure=job.structure,
        refinement=job.refinement,
        timeline=job.timeline,
        size=job.size,
        seeds=tuple(each.seed for each in jobs),
        spaces={role: coded.space for role, coded in spaces.items()},
        codings=spaces if job.crosses else {},
        long_video=job.long_video,
        source_latents=None if source is None else _encoded(source, spaces[job.draft_role]),
        device=device,
    )
    notices = (*advice(job, experts), *device_advice(job, device, dtype), *may_be_short)
    weights = {role: weights_of(role, spec) for role, spec in job.experts.items()}
    return LoadedPipeline(
        job, pipeline, spaces, draft_decoder, source, experts, policy, notices, weights, dtype
    )


def _conditioned(job: Job, role: str, expert: Expert) -> dict[int, Denoiser]:
    """An expert's denoisers by the frame from which on each prompt holds."""
    return {
        frame: expert.condition(text, job.negative_prompt, job.guidance[role])
        for frame, text in job.prompts.items()
    }


def _coded_spaces(job: Job, loading: Loading) -> dict[str, CodedSpace]:
    """By role, the spaces of the experts that are asked; those that share one have the same."""
    compiling = job.settings.compile
    by_vae = {
        role: coded_space(role, job.experts[role], *loading, compiling)
        for role in dict.fromkeys(map(job.vae_role, job.asked))
    }
    for coded in by_vae.values():
        _check_size(job.size, coded.space.factor)
    return {role: by_vae[job.vae_role(role)] for role in job.asked}


def _check_size(size: tuple[int, int], factor: int) -> None:
    for name, value in zip(("height", "width"), size, strict=True):
        if value % factor:
            raise ConfinerError(
                f"{name}={value} is not a multiple of {factor}, the VAE's factor",
                f"{name}={value // factor * factor}",
            )


def _encoded(source: SourceFrames, coded: CodedSpace) -> Callable[[Span], Tensor]:
    return lambda span: coded.encoder(source(span))

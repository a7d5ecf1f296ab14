"""diffusers' AnimateDiffPipeline on a control expert's weights: what a user would run instead."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.animatediff.pipeline_animatediff import AnimateDiffPipeline
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.utils import logging
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from confiner_cli.config.job import Job
from confiner_cli.experts.device import device_of, dtype_of
from confiner_cli.experts.export import export
from confiner_cli.experts.loading import components_of, load_decoder, load_expert
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.spec import ExpertSpec


def from_export(control: ExpertSpec, device: torch.device) -> AnimateDiffPipeline:
    """The pipeline as diffusers reads it from what `confiner experts export` writes."""
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder, quiet():
        (exported,) = export({"control": control}, Path(folder) / "exported")
        pipeline = AnimateDiffPipeline.from_pretrained(exported, local_files_only=True)
    return _silent(pipeline.to(device))


def on_networks(job: Job, cache: NetworkCache) -> AnimateDiffPipeline:
    """The pipeline around the networks that a job's control expert and decoder have in a cache.

    Of the text encoder it has transformers' class.
    """
    device, control = device_of(job.settings.device), job.experts["control"]
    dtype, policy = dtype_of(job.settings.dtype, device), POLICIES["high"]
    expert: Any = load_expert("control", control, device, dtype, policy, cache)
    decoder = load_decoder("spatial", job.experts["spatial"], device, dtype, policy, cache)
    components = components_of("control", control, device, dtype)
    text = CLIPTextModel.from_pretrained(components.folder("text_encoder"), dtype=dtype)
    scheduler = EulerDiscreteScheduler(
        beta_schedule=control.beta_schedule,
        beta_start=control.beta_start,
        beta_end=control.beta_end,
        timestep_spacing="trailing",
    )
    with quiet():
        pipeline = AnimateDiffPipeline(
            vae=decoder.vae(),
            text_encoder=text.to(device),
            tokenizer=CLIPTokenizer.from_pretrained(components.folder("tokenizer")),
            unet=expert.network.unet(),
            motion_adapter=None,
            scheduler=scheduler,
        )
    return _silent(pipeline)


def sample(
    pipeline: AnimateDiffPipeline,
    prompt: str,
    num_frames: int,
    size: tuple[int, int],
    steps: int,
    seed: int,
) -> Tensor:
    """A clip `(frame, 3, height, width)` in [0, 1], float32 on the CPU, without guidance.

    Args:
        pipeline: of this module.
        prompt: what the clip shows.
        num_frames: of the clip.
        size: `(height, width)` in pixels.
        steps: of the sampling.
        seed: of the noise, which is drawn on the CPU.
    """
    height, width = size
    with quiet():
        made = pipeline(
            prompt,
            num_frames=num_frames,
            height=height,
            width=width,
            num_inference_steps=steps,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
        )
    clip: Tensor = made.frames[0]
    return clip.float().cpu()


def quiet() -> warnings.catch_warnings[None]:
    """No warnings: diffusers deprecates some of what it calls itself."""
    return warnings.catch_warnings(action="ignore")


def _silent(pipeline: AnimateDiffPipeline) -> AnimateDiffPipeline:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline

"""How the videos of each row are made, and where their seams are."""

from __future__ import annotations

import functools
import hashlib
import math
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from confiner_cli.config.method_options import timeline_of
from torch import Tensor

from confiner_cli import api
from confiner_cli.config.hydra import compose, settings_of
from confiner_cli.config.resolve import resolved
from confiner_cli.config.schema import Settings
from confiner_cli.experts.device import device_of
from confiner_cli.experts.export import export
from evaluation.floor import levels
from evaluation.prompts import Prompt
from evaluation.run import Made, Maker
from long.rows import CLIP, CONFINER, FLOOR, FREE_NOISE, PEERS
from long.seams import Seams
from world.render import FRAMES, SIZE, render

CLIP_SEEDS = 1_000_000
"""How far apart the seeds of one video's independent clips are."""
CONTEXT_STRIDE = 4


@dataclass(frozen=True)
class Source:
    """A row that is ready: what makes its videos, and their seams."""

    make: Maker
    seams: Seams


def source(row: str, num_frames: int, overrides: Sequence[str]) -> Source:
    """Get a row of `rows.ROWS` ready, its experts loaded.

    Args:
        row: its name.
        num_frames: of every video.
        overrides: for confiner, after the row's own.
    """
    segments = Seams.every(num_frames, FRAMES, FRAMES)
    if row in CONFINER:
        seams = Seams.of(timeline_of(_settings(row, num_frames, tuple(overrides))))
        return Source(_confiner((*CONFINER[row], *overrides), num_frames), seams)
    if row in FREE_NOISE:
        device = device_of(settings_of(compose(list(overrides))).device)
        sliding = Seams.every(num_frames, FRAMES, CONTEXT_STRIDE)
        return Source(_free_noise(FREE_NOISE[row], num_frames, device), sliding)
    if row == FLOOR:
        return Source(
            lambda prompt, seed: Made(
                levels(render(prompt.scene))[torch.arange(num_frames) % FRAMES]
            ),
            segments,
        )
    assert row == PEERS[0]
    return Source(_concatenated((*CLIP, *overrides), num_frames), segments)


def made_with(row: str, num_frames: int, overrides: Sequence[str]) -> str:
    """Eight digits that change with whatever is set for a row.

    The results of other settings are not its own.
    """
    told: tuple[Any, ...] = (num_frames, FREE_NOISE.get(row))
    if row in CONFINER or row == PEERS[0]:
        settings = _settings(row, num_frames if row in CONFINER else FRAMES, tuple(overrides))
        told = (*told, settings.experts, settings.scheduler, settings.long_video)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


@functools.cache
def _settings(row: str, num_frames: int, overrides: tuple[str, ...]) -> Settings:
    chosen = settings_of(compose([*CONFINER.get(row, CLIP), *overrides]))
    return resolved(replace(chosen, prompt="-", seed=0, num_frames=num_frames))


def _confiner(overrides: Sequence[str], num_frames: int) -> Maker:
    confiner = api.load("tiny", *overrides)

    def make(prompt: Prompt, seed: int) -> Made:
        video = confiner.generate(prompt.text, seed=seed, num_frames=num_frames)
        return Made(video.frames.permute(0, 3, 1, 2).float() / 255, video.evaluations, video.passes)

    return make


def _concatenated(overrides: Sequence[str], num_frames: int) -> Maker:
    """Independent clips, one after another."""
    clip = _confiner(overrides, FRAMES)

    def make(prompt: Prompt, seed: int) -> Made:
        clips = [
            clip(prompt, seed + CLIP_SEEDS * number)
            for number in range(math.ceil(num_frames / FRAMES))
        ]
        return Made(torch.cat([made.clip for made in clips])[:num_frames], *_sums(clips))

    return make


def _sums(clips: Sequence[Made]) -> tuple[dict[str, int], dict[str, int]]:
    """Evaluations and passes of all clips, by role."""
    evaluations, passes = (
        {role: sum(getattr(made, kind)[role] for made in clips) for role in getattr(clips[0], kind)}
        for kind in ("evaluations", "passes")
    )
    return evaluations, passes


def _free_noise(steps: int, num_frames: int, device: torch.device) -> Maker:
    """The long videos of diffusers, with its defaults.

    A pass over the whole video counts one for each 16 frames.
    """
    pipeline = _animatediff(device)
    passes = {"control": steps * math.ceil(num_frames / FRAMES)}

    def make(prompt: Prompt, seed: int) -> Made:
        with _quiet():
            frames: Tensor = pipeline(
                prompt.text, num_frames=num_frames, height=SIZE, width=SIZE,
                num_inference_steps=steps, guidance_scale=1.0,
                generator=torch.Generator().manual_seed(seed), output_type="pt",
            ).frames[0]  # fmt: skip
        return Made(levels(frames.float().cpu()), {"control": steps}, passes)

    return make


def _animatediff(device: torch.device) -> Any:
    from diffusers.pipelines.animatediff.pipeline_animatediff import AnimateDiffPipeline
    from diffusers.utils import logging

    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder, _quiet():
        spec = settings_of(compose(["experts=tiny"])).experts.control
        (control,) = export({"control": spec}, Path(folder) / "tiny")
        pipeline = AnimateDiffPipeline.from_pretrained(control, local_files_only=True).to(device)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.enable_free_noise(context_length=FRAMES, context_stride=CONTEXT_STRIDE)
    return pipeline


def _quiet() -> warnings.catch_warnings[None]:
    """No warnings: diffusers deprecates some of what it calls itself."""
    return warnings.catch_warnings(action="ignore")

"""How the videos of each row are made, and where their seams are."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

import animatediff_pipeline
from confiner_cli.config.hydra import settings_with
from confiner_cli.config.job import Job
from confiner_cli.config.resolve import resolve
from confiner_cli.experts.device import device_of
from evaluation.clips import levels
from evaluation.makers import Load, by_confiner, embedded
from evaluation.marks import mark, what_is_set
from evaluation.prompts import Prompt
from evaluation.tasks import Made, Maker
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


def sources(num_frames: int, overrides: Sequence[str]) -> Callable[[str], Source]:
    """Gets a row of `rows.ROWS` ready by its name; only the last one is kept.

    Args:
        num_frames: of every video.
        overrides: for confiner, after the row's own.
    """
    load = embedded(overrides)
    return functools.lru_cache(maxsize=1)(lambda row: source(row, num_frames, overrides, load))


def source(row: str, num_frames: int, overrides: Sequence[str], load: Load) -> Source:
    """Get a row ready; `load` loads the embedded experts where it needs them."""
    if row in CONFINER:
        make = by_confiner(load, (*CONFINER[row], *overrides), num_frames)
        return Source(make, Seams.of(job_of(row, num_frames, overrides).timeline))
    if row in FREE_NOISE:
        device = device_of(settings_with(overrides).device)
        seams = Seams.every(num_frames, FRAMES, CONTEXT_STRIDE)
        return Source(_free_noise(FREE_NOISE[row], num_frames, device), seams)
    segments = Seams.every(num_frames, FRAMES, FRAMES)
    if row == FLOOR:
        return Source(functools.partial(_repeated, num_frames), segments)
    assert row == PEERS[0]
    return Source(_concatenated(by_confiner(load, (*CLIP, *overrides)), num_frames), segments)


def made_with(row: str, num_frames: int, overrides: Sequence[str]) -> str:
    """Eight digits that change with whatever is set for a row.

    The results of other settings are not its own.
    """
    settings = {}
    if row in CONFINER:
        settings = what_is_set(job_of(row, num_frames, overrides).settings)
    elif row == PEERS[0]:
        settings = what_is_set(job_of(row, FRAMES, overrides).settings)
    return mark((num_frames, FREE_NOISE.get(row), settings))


def job_of(row: str, num_frames: int, overrides: Sequence[str]) -> Job:
    """What confiner makes for a row, decided; a row of another maker has its independent clips."""
    chosen = settings_with([*CONFINER.get(row, CLIP), *overrides])
    return resolve(replace(chosen, seed=0, num_frames=num_frames))


def _repeated(num_frames: int, prompt: Prompt, seed: int) -> Made:
    """The prompt's rendered clip over and over."""
    return Made(levels(render(prompt.scene))[torch.arange(num_frames) % FRAMES])


def _concatenated(clip: Maker, num_frames: int) -> Maker:
    """Independent clips, one after another."""

    def make(prompt: Prompt, seed: int) -> Made:
        seeds = [seed + CLIP_SEEDS * number for number in range(math.ceil(num_frames / FRAMES))]
        clips = [clip(prompt, each) for each in seeds]
        joined = torch.cat([made.clip for made in clips])[:num_frames]
        evaluations = _summed(made.evaluations for made in clips)
        return Made(joined, evaluations, _summed(made.passes for made in clips))

    return make


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def _free_noise(steps: int, num_frames: int, device: torch.device) -> Maker:
    """The long videos of diffusers, with its defaults.

    A pass over the whole video counts one for each 16 frames.
    """
    control = settings_with(["experts=tiny"]).experts.role("control")
    pipeline = animatediff_pipeline.from_export(control, device)
    pipeline.enable_free_noise(context_length=FRAMES, context_stride=CONTEXT_STRIDE)
    passes = {"control": steps * math.ceil(num_frames / FRAMES)}

    def make(prompt: Prompt, seed: int) -> Made:
        size = (SIZE, SIZE)
        clip = animatediff_pipeline.sample(pipeline, prompt.text, num_frames, size, steps, seed)
        return Made(levels(clip), {"control": steps}, passes)

    return make

"""The evaluation of clips: every row makes one of every prompt and seed, measured and kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from evaluation.judge import Verdict, judge
from evaluation.metrics import colour_shift, contrast, flicker, sharpness, subject_consistency
from evaluation.prompts import Prompt
from evaluation.results import Results
from evaluation.tasks import Maker, Task, make_missing
from evaluation.tracking import scene_path


def evaluate(
    makers: Mapping[str, Callable[[], Maker]], todo: Sequence[Task], results: Results
) -> None:
    """Make, measure and keep what is not in the results yet.

    A row's maker is got ready when its turn comes, and kept: rows take turns at every prompt.
    """
    ready = functools.cache(lambda row: makers[row]())
    for task, made, seconds in make_missing(todo, results.lines, ready):
        verdict = judge(made.clip)
        told = task.named | {"seconds": seconds, "held_out": int(task.prompt.held_out)}
        seen = measured(made.clip, verdict, task.prompt)
        results.add(told | made.costs | seen, verdict.features)


def measured(clip: Tensor, verdict: Verdict, prompt: Prompt) -> dict[str, Any]:
    """The columns that come from the clip: what it shows of what was asked for, and how well."""
    right = verdict.right(prompt.scene) | verdict.right_frames(prompt.scene)
    return right | qualities(clip, verdict)


def qualities(clip: Tensor, verdict: Verdict) -> dict[str, float]:
    """How well a clip is drawn, whatever was asked for: beside a render of what it shows."""
    x, y = travel(verdict)
    return {
        "flicker": flicker(clip, verdict.track.mask),
        "jitter": verdict.fit.jitter,
        "contrast": contrast(clip, verdict.scene),
        "sharpness": sharpness(clip, verdict.scene),
        "colour_shift": colour_shift(clip, verdict.scene, verdict.track.mask),
        "subject_consistency": subject_consistency(verdict.features),
        "amplitude": verdict.fit.amplitude,
        "travel_x": x,
        "travel_y": y,
    }


def travel(verdict: Verdict) -> tuple[float, float]:
    """From first to last frame, by a line through the track: x and y in percent of the side."""
    centres = scene_path(verdict.track, verdict.scene.shape, verdict.scene.colour)[:, :2]
    time = torch.linspace(-0.5, 0.5, len(centres))[:, None]
    x, y = (100 * (time * centres).sum(dim=0) / time.square().sum().clamp(min=1e-6)).tolist()
    return x, y

"""Every metric is believed only after it has told known injuries of renders from all others.

An injury has a dose; what measures it must follow the dose, and what measures something else must
stay where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import islice, pairwise
from statistics import fmean

import pytest
import torch
from support.injuries import Injury, blurred, flattened, frozen, noisy, shuffled, turned
from torch import Tensor

from evaluation.clips import levels
from evaluation.judge import Verdict, judge
from evaluation.prompts import Prompt, draw
from evaluation.run import measured
from evaluation.statistics import Frechet, Moments
from world.render import render
from world.scene import SHAPES

PROMPTS = tuple(islice(draw(0), 5))
STAYS = {
    "shape_frames": 0.0, "colour_frames": 0.0, "background_frames": 0.0, "motion": 0.0,
    "flicker": 0.02, "contrast": 0.01, "sharpness": 0.02, "jitter": 0.05, "colour_shift": 0.4,
    "subject_consistency": 0.002, "amplitude": 0.01,
}  # fmt: skip
"""How far a metric may go from what renders get when nothing is done to what it measures."""


def of_render(injury: Callable[[Tensor, float], Tensor]) -> Callable[[Prompt, float], Tensor]:
    """An injury of a clip as one of a prompt's render."""
    return lambda prompt, dose: levels(injury(render(prompt.scene), dose))


def flickering(prompt: Prompt, std: float) -> Tensor:
    """Noise that is another one for each prompt."""
    return levels(noisy(render(prompt.scene), std, seed=prompt.number))


def reshaped(prompt: Prompt, frames: float) -> Tensor:
    """So many frames at the end show another shape."""
    other = SHAPES[(SHAPES.index(prompt.scene.shape) + 2) % len(SHAPES)]
    kept = 16 - int(frames)
    return levels(
        torch.cat((render(prompt.scene)[:kept], render(replace(prompt.scene, shape=other))[kept:]))
    )


INJURIES = {
    "flicker of known amplitude": Injury(
        flickering, (0, 0.5, 1, 2, 4), {"flicker": 1}, ("sharpness",)
    ),
    "blur of known radius": Injury(
        of_render(blurred), (0, 0.4, 0.7, 1), {"sharpness": -1}, ("contrast", "colour_shift")
    ),
    "contrast x 0.9": Injury(
        of_render(flattened), (0, 0.1, 0.2, 0.4), {"contrast": -1}, ("sharpness", "jitter")
    ),
    "hue turn": Injury(of_render(turned), (0, 2, 4, 8), {"colour_shift": 1}),
    "shuffled frames": Injury(
        of_render(shuffled), (0, 1, 3, 10), {"jitter": 1, "amplitude": -1}, ("motion",)
    ),
    "frozen video": Injury(
        of_render(frozen), (0, 4, 8, 15), {"amplitude": -1}, ("motion", "jitter")
    ),
    "wrong shape at the end": Injury(
        reshaped, (0, 4, 8), {"shape_frames": -1, "subject_consistency": -1},
        ("motion", "jitter", "amplitude", "contrast", "sharpness"),
    ),
}  # fmt: skip


@cache
def injured(name: str, dose: float) -> list[tuple[Tensor, Verdict]]:
    """All prompts' renders with a dose of an injury, and what the judge says of them."""
    clips = [INJURIES[name].do(prompt, dose) for prompt in PROMPTS]
    return [(clip, judge(clip)) for clip in clips]


@cache
def found(name: str) -> list[dict[str, float]]:
    """The metrics' means over prompts, for every dose of an injury."""
    means = []
    for dose in INJURIES[name].doses:
        judged = zip(injured(name, dose), PROMPTS, strict=True)
        lines = [measured(clip, verdict, prompt) for (clip, verdict), prompt in judged]
        means.append({metric: fmean(float(line[metric]) for line in lines) for metric in STAYS})
    return means


@pytest.mark.parametrize(
    ("name", "metric"), [(name, metric) for name, one in INJURIES.items() for metric in one.moves]
)
def test_a_metric_follows_the_dose_of_its_own_injury(name, metric):
    values, sign = [line[metric] for line in found(name)], INJURIES[name].moves[metric]
    least = max(STAYS[metric], 0.02 if metric != "subject_consistency" else 0.0)
    assert all(sign * (after - before) > 0 for before, after in pairwise(values)), values
    assert sign * (values[-1] - values[0]) > 3 * least, values


@pytest.mark.parametrize("name", INJURIES)
def test_metrics_stay_put_where_nothing_is_done_to_what_they_measure(name):
    injury, lines = INJURIES[name], found(name)
    for metric in set(STAYS) - set(injury.moves) - set(injury.touches):
        values = [line[metric] for line in lines]
        assert max(values) - min(values) <= STAYS[metric], (metric, values)


def test_flicker_is_the_mean_change_of_what_should_stand_still():
    """The mean absolute difference of two normal values is `2 / sqrt(pi)` of their deviation."""
    lines = found("flicker of known amplitude")
    for std, line in list(zip(INJURIES["flicker of known amplitude"].doses, lines, strict=True))[
        2:
    ]:
        assert line["flicker"] == pytest.approx(2 / math.pi**0.5 * std, rel=0.05)


def test_contrast_is_the_share_that_is_left_and_colour_shift_the_angle():
    for loss, line in zip(INJURIES["contrast x 0.9"].doses, found("contrast x 0.9"), strict=True):
        assert line["contrast"] == pytest.approx(1 - loss, abs=0.015)
    for angle, line in zip(INJURIES["hue turn"].doses, found("hue turn"), strict=True):
        assert line["colour_shift"] == pytest.approx(angle, abs=0.4)


def test_a_frozen_video_is_judged_to_stand_still():
    for _, verdict in injured("frozen video", 15):
        assert verdict.fit.motion == "standing still"


def feature_distance(features: Tensor, reference: Tensor) -> float:
    """Of features `(sample, feature)`, as the tables have it of all prompts once."""
    once = torch.ones(1, 1, dtype=torch.float64)
    return float(Frechet(Moments.of([reference]), once).distances(Moments.of([features]))[0])


@pytest.mark.parametrize(
    "name", ["flicker of known amplitude", "blur of known radius", "contrast x 0.9", "hue turn"]
)
def test_feature_distance_to_renders_grows_with_every_injury_to_a_frame(name):
    doses = (0, *INJURIES[name].doses[-2:])
    features = [
        torch.cat([verdict.features for _, verdict in injured(name, dose)]) for dose in doses
    ]
    distances = [feature_distance(version, features[0]) for version in features]
    assert distances[0] == pytest.approx(0, abs=1e-3)
    assert distances[0] < distances[1] < distances[2]


def test_feature_distance_does_not_see_the_order_of_frames():
    straight, mixed = (
        torch.cat([verdict.features for _, verdict in injured("shuffled frames", swaps)])
        for swaps in (0, 10)
    )
    assert feature_distance(mixed, straight) == pytest.approx(0, abs=1e-3)

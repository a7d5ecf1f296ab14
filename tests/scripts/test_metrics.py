"""Every metric is believed only after it has told known injuries of renders from all others.

An injury has a dose; what measures it must follow the dose, and what measures something else must
stay where it was.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice, pairwise
from statistics import fmean

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

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


def flickering(prompt: Prompt, std: float) -> Tensor:
    """Noise of its own in every frame, its standard deviation in levels of 0-255."""
    noise = torch.randn(16, 3, 64, 64, generator=torch.Generator().manual_seed(prompt.number))
    return levels(render(prompt.scene) + std / 255 * noise)


def blurred(prompt: Prompt, radius: float) -> Tensor:
    """A Gaussian blur of a radius (standard deviation) in pixels."""
    clip = render(prompt.scene)
    if radius:
        kernel = torch.exp(-torch.arange(-9.0, 10.0).square() / (2 * radius**2))
        kernel = (kernel / kernel.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
        clip = conv2d(pad(clip, (9, 9, 9, 9), mode="replicate"), kernel, groups=3)
        clip = conv2d(clip, kernel.transpose(2, 3), groups=3)
    return levels(clip)


def flattened(prompt: Prompt, loss: float) -> Tensor:
    """Contrast times `1 - loss`, around the mean."""
    clip = render(prompt.scene)
    return levels(clip.mean() + (1 - loss) * (clip - clip.mean()))


def turned(prompt: Prompt, degrees: float) -> Tensor:
    """All hues turned around grey."""
    angle, axis = math.radians(degrees), 3**-0.5
    cross = axis * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    rotation = torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    return levels(torch.einsum("ij,fjhw->fihw", rotation, render(prompt.scene)))


def shuffled(prompt: Prompt, swaps: float) -> Tensor:
    """Pairs of frames exchanged."""
    order, rng = list(range(16)), random.Random(1)
    for _ in range(int(swaps)):
        i, j = rng.sample(range(16), 2)
        order[i], order[j] = order[j], order[i]
    return levels(render(prompt.scene)[order])


def frozen(prompt: Prompt, frames: float) -> Tensor:
    """So many frames at the end stand still."""
    return levels(render(prompt.scene)[torch.arange(16).clamp(max=15 - int(frames))])


def reshaped(prompt: Prompt, frames: float) -> Tensor:
    """So many frames at the end show another shape."""
    other = SHAPES[(SHAPES.index(prompt.scene.shape) + 2) % len(SHAPES)]
    kept = 16 - int(frames)
    return levels(
        torch.cat((render(prompt.scene)[:kept], render(replace(prompt.scene, shape=other))[kept:]))
    )


@dataclass(frozen=True)
class Injury:
    """What is done, in rising doses, the first of them none.

    `moves` are the metrics that measure it: 1 rises with the dose, -1 falls, every time. `touches`
    are those that it changes as well, rightly: they are not asked to stay.
    """

    do: Callable[[Prompt, float], Tensor]
    doses: tuple[float, ...]
    moves: dict[str, int]
    touches: tuple[str, ...] = ()


INJURIES = {
    "flicker of known amplitude": Injury(
        flickering, (0, 0.5, 1, 2, 4), {"flicker": 1}, ("sharpness",)
    ),
    "blur of known radius": Injury(
        blurred, (0, 0.4, 0.7, 1), {"sharpness": -1}, ("contrast", "colour_shift")
    ),
    "contrast x 0.9": Injury(
        flattened, (0, 0.1, 0.2, 0.4), {"contrast": -1}, ("sharpness", "jitter")
    ),
    "hue turn": Injury(turned, (0, 2, 4, 8), {"colour_shift": 1}),
    "shuffled frames": Injury(shuffled, (0, 1, 3, 10), {"jitter": 1, "amplitude": -1}, ("motion",)),
    "frozen video": Injury(frozen, (0, 4, 8, 15), {"amplitude": -1}, ("motion", "jitter")),
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

"""What a long video shows from end to end: the right things, or drift, repeats and stand-stills."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, cosine_similarity

from evaluation.judge import LOOKS, Verdict, judge
from world.render import FRAMES
from world.scene import Scene

LUMA = (0.299, 0.587, 0.114)
SATURATED = 0.2
"""Colour (largest minus smallest channel) from which on a pixel has a hue."""
APART = 2
UNMOVED = 1e-4
"""Mean square, in [0, 1], below which a segment has nothing beside the video's mean frame."""


def judged(clip: Tensor) -> list[Verdict]:
    """A verdict for every `FRAMES` frames, of the last maybe fewer.

    Args:
        clip: `(frame, 3, size, size)` in [0, 1].
    """
    return [judge(part) for part in _segments(clip)]


def features_of(verdicts: Sequence[Verdict]) -> Tensor:
    """The judge's features of all frames, `(frame, width)`."""
    return torch.cat([verdict.features for verdict in verdicts])


def right_frames(verdicts: Sequence[Verdict], scene: Scene) -> dict[str, float]:
    """The share of frames with the scene's shape, colour, background, and all three (`looks`)."""
    seen, wanted = _looks(verdicts), tuple(getattr(scene, name) for name in LOOKS)
    shares = {"looks_frames": seen.count(wanted) / len(seen)}
    for place, name in enumerate(LOOKS):
        names = [frame[place] for frame in seen]
        shares[f"{name}_frames"] = names.count(wanted[place]) / len(names)
    return shares


def subject_consistency(verdicts: Sequence[Verdict]) -> float:
    """The share of frames that show the shape, colour and background that most frames show."""
    seen = _looks(verdicts)
    return Counter(seen).most_common(1)[0][1] / len(seen)


def motion_segments(verdicts: Sequence[Verdict], scene: Scene) -> float:
    """The share of whole segments of `FRAMES` frames that move as the scene does."""
    marks = [
        verdict.fit.motion == scene.motion
        for verdict in verdicts
        if len(verdict.features) == FRAMES
    ]
    return sum(marks) / len(marks) if marks else float("nan")


def movement(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """How much the object moves from frame to frame inside segments, in percent.

    `movement`: mean distance of its centre from where it was, of the side; `resizing`: mean
    absolute change of its radius, of the radius.
    """
    steps = torch.cat([verdict.track.centre.diff(dim=0).norm(dim=1) for verdict in verdicts])
    sizes = torch.cat(
        [verdict.track.radius.clamp(min=1e-3).log().diff().abs() for verdict in verdicts]
    )
    return {"movement": float(100 * steps.mean()), "resizing": float(100 * sizes.mean())}


def drift(clip: Tensor) -> dict[str, float]:
    """The last segment against the first, both whole: a motion's phases are the same in both.

    Args:
        clip: `(frame, 3, size, size)` in [0, 1]; of a short one the first half is compared with the
            last.

    Returns:
        `brightness` (mean luma), `contrast` (luma's standard deviation inside frames) and
        `sharpness` (mean absolute Laplacian of luma): relative change, 0.1 is 10 % more; `hue`:
        turn of the mean hue in degrees, in (-180, 180].
    """
    count = min(FRAMES, max(1, len(clip) // 2))
    first, last = _appearance(clip[:count]), _appearance(clip[-count:])
    found = {
        f"drift_{name}": last[name] / max(first[name], 1e-6) - 1
        for name in ("brightness", "contrast", "sharpness")
    }
    turn = math.degrees(last["hue"] - first["hue"])
    return found | {"drift_hue": 180 - (180 - turn) % 360}


def repetition(clip: Tensor) -> dict[str, float]:
    """How alike segments are that are not neighbours.

    Cosine similarity of pixels without the video's mean frame.
    Two segments beside each other of one still scene both have next to nothing of their own: they
    are alike (1).

    Args:
        clip: `(frame, 3, size, size)` in [0, 1].

    Returns:
        `repetition` (the highest) and `repetition_mean` over pairs of whole segments of `FRAMES`
        frames at least `APART` apart; NaN where there is none.
    """
    own = _segments(clip - clip.mean(dim=0))
    segments = [part.flatten() for part in own if len(part) == FRAMES]
    pairs = [(a, b) for (i, a), (j, b) in combinations(enumerate(segments), 2) if j - i >= APART]
    values = [_alike(a, b) for a, b in pairs] or [float("nan")]
    return {"repetition": max(values), "repetition_mean": sum(values) / len(values)}


def _segments(clip: Tensor) -> list[Tensor]:
    return [clip[start : start + FRAMES] for start in range(0, len(clip), FRAMES)]


def _alike(first: Tensor, second: Tensor) -> float:
    if max(float(first.square().mean()), float(second.square().mean())) < UNMOVED:
        return 1.0
    return float(cosine_similarity(first.double(), second.double(), dim=0))


def _looks(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """The names of `LOOKS` that every single frame gets."""
    seen: list[tuple[str, ...]] = []
    for verdict in verdicts:
        looks = [verdict.frames[name] for name in LOOKS]
        seen += zip(*looks, strict=True)
    return seen


def _appearance(clip: Tensor) -> dict[str, float]:
    luma = (clip * torch.tensor(LUMA).view(3, 1, 1)).sum(dim=1, keepdim=True)
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    return {
        "brightness": float(luma.mean()),
        "contrast": float(luma.flatten(1).std(dim=1).mean()),
        "sharpness": float(conv2d(luma, kernel).abs().mean()),
        "hue": _hue(clip),
    }


def _hue(clip: Tensor) -> float:
    """The circular mean of the saturated pixels' hues in radians; 0 is red."""
    red, green, blue = clip.unbind(dim=1)
    angle = torch.atan2(math.sqrt(3) / 2 * (green - blue), red - (green + blue) / 2)
    angle = angle[clip.amax(dim=1) - clip.amin(dim=1) > SATURATED]
    return float(torch.atan2(angle.sin().sum(), angle.cos().sum()))

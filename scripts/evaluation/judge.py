"""The judge: a small network that names shape, colour and background; motion comes from tracking.

It has seen renders only, never a generated frame, so it cannot have learnt an expert's habits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from evaluation.tracking import Fit, Track, fit, track
from world.scene import ATTRIBUTES, Scene

WEIGHTS = Path(__file__).with_name("judge.safetensors")
LOOKS = ("shape", "colour", "background")
CROP = 32
REACH = 1.75
WIDTH = 48


class Judge(nn.Module):
    """Three strided convolutions over a crop, a feature vector, one linear head an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_halving(3, 24),
            *_halving(24, 48),
            *_halving(48, 64),
            nn.Flatten(),
            nn.Linear(64 * (CROP // 8) ** 2, WIDTH),
            nn.SiLU(),
        )
        self.heads = nn.ModuleDict(
            {name: nn.Linear(WIDTH, len(ATTRIBUTES[name])) for name in LOOKS}
        )

    def forward(self, crops: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Features and logits of crops.

        Args:
            crops: `(frame, 3, CROP, CROP)` in [0, 1].

        Returns:
            Features `(frame, WIDTH)`, and logits by attribute.
        """
        features = self.body(crops * 2 - 1)
        return features, {name: head(features) for name, head in self.heads.items()}


@dataclass(frozen=True)
class Verdict:
    """What a clip shows.

    Attributes:
        scene: its attributes, with place and size as fitted; the motion `lost` is kept in `fit`.
        frames: by attribute of `LOOKS`, the name that each single frame gets.
        features: `(frame, WIDTH)`, the judge's last hidden layer.
        track: where the object is.
        fit: the motion.
    """

    scene: Scene
    frames: dict[str, list[str]]
    features: Tensor
    track: Track
    fit: Fit

    def right(self, scene: Scene) -> dict[str, int]:
        """1 or 0 for shape, colour, background, motion and all four of the scene asked for."""
        marks = {name: int(getattr(self.scene, name) == getattr(scene, name)) for name in LOOKS}
        marks["motion"] = int(self.fit.motion == scene.motion)
        return marks | {"all": int(all(marks.values()))}

    def right_frames(self, scene: Scene) -> dict[str, float]:
        """The share of single frames that show the scene's `LOOKS`, as `shape_frames` and so on."""
        counts = {name: seen.count(getattr(scene, name)) for name, seen in self.frames.items()}
        return {f"{name}_frames": count / len(self.features) for name, count in counts.items()}


@torch.no_grad()
def judge(clip: Tensor) -> Verdict:
    """Judge a clip, `(frame, 3, size, size)` in [0, 1], by its frames' mean log probabilities."""
    seen = track(clip)
    features, logits = load_judge()(
        crops(clip, torch.cat((seen.centre, seen.radius[:, None]), dim=1))
    )
    frames, clipwise = {}, {}
    for name, values in logits.items():
        frames[name] = [ATTRIBUTES[name][place] for place in values.argmax(dim=1).tolist()]
        mean = values.log_softmax(dim=1).mean(dim=0)
        clipwise[name] = ATTRIBUTES[name][int(mean.argmax())]
    fitted = fit(seen, clipwise["shape"], clipwise["colour"])
    return Verdict(fitted.scene(**clipwise), frames, features, seen, fitted)


@functools.lru_cache(maxsize=1)
def load_judge() -> Judge:
    """The trained judge."""
    network = Judge()
    network.load_state_dict({key: _single(value) for key, value in load_file(WEIGHTS).items()})
    return network.eval().requires_grad_(False)


def crops(clip: Tensor, places: Tensor) -> Tensor:
    """Square crops `(frame, 3, CROP, CROP)` around discs: centre x, y and radius, `(frame, 3)`."""
    x, y, radius = places.unbind(dim=1)
    scale, none = 2 * REACH * radius.clamp(min=0.05), torch.zeros_like(x)
    rows = (scale, none, 2 * x - 1), (none, scale, 2 * y - 1)
    matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    grid = affine_grid(matrix, [len(clip), 3, CROP, CROP], align_corners=False)
    return grid_sample(clip, grid, padding_mode="border", align_corners=False)


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _halving(before: int, after: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.SiLU(),
    )

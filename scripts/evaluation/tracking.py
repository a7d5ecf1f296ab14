"""Tracking: the four backgrounds are known and still, so what differs from one is the object.

A shadow only darkens its background, and a decoded background is a little brighter or darker than
the rendered one: a pixel counts as object where no scaled background colour comes near it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from world.render import path, render_frame
from world.scene import BACKGROUNDS, MOTIONS, Scene

THRESHOLD = 0.13
SHADES = (0.6, 1.06)
SMALLEST_AREA = 0.01
AMPLITUDES = (0.5, 1.5)


@dataclass(frozen=True)
class Track:
    """Where the object is, in every frame.

    Attributes:
        background: which of the four patterns it moves over.
        mask: `(frame, size, size)`, bool.
        centre: `(frame, 2)`, x and y of the mask's centre of mass, fractions of the side.
        radius: `(frame,)`, of a disc of the mask's area, fractions of the side.
        found: `(frame,)`, bool; elsewhere centre and radius are those of the nearest frame in which
            it was found.
    """

    background: str
    mask: Tensor
    centre: Tensor
    radius: Tensor
    found: Tensor


@dataclass(frozen=True)
class Fit:
    """The motion whose path comes closest to a track.

    Attributes:
        motion: its name; `lost` where the object was found in less than half of the frames.
        amplitude: how far it moves, 1 as rendered; 0 for standing still.
        fitted: `(frame, 3)`, x, y and radius of the fitted path, in the scene's own terms.
        residual: `(frame, 3)`, the track minus the fitted path.
    """

    motion: str
    amplitude: float
    fitted: Tensor
    residual: Tensor

    @property
    def jitter(self) -> float:
        """Root mean square distance of the centre from the fitted path, in percent of the side."""
        return float(100 * self.residual[:, :2].square().sum(dim=1).mean().sqrt())

    def scene(self, shape: str, colour: str, background: str) -> Scene:
        """The scene with this place, size and motion; an amplitude is nothing that a scene says."""
        motion = self.motion if self.motion in MOTIONS else "standing still"
        still = self.fitted.mean(dim=0) - (path(_nominal(motion), len(self.fitted)) - _rest()).mean(
            dim=0
        )
        x, y, radius = still.clamp(0.05, 0.95).tolist()
        return Scene(shape, colour, motion, background, x=x, y=y, radius=radius)


def track(clip: Tensor) -> Track:
    """Track the object in a clip `(frame, 3, size, size)` of values in [0, 1]."""
    background = background_of(clip)
    mask = _largest(_differs(clip, backdrop(background, clip.shape[-1])))
    mask = ~_reached(~mask)
    size = clip.shape[-1]
    area = mask.sum(dim=(1, 2))
    line = (torch.arange(size) + 0.5) / size
    x, y = ((mask * axis).sum(dim=(1, 2)) / area.clamp(min=1) for axis in (line, line[:, None]))
    found = area >= SMALLEST_AREA * size**2
    nearest = _nearest(found)
    centre = torch.stack((x, y), dim=1)[nearest]
    radius = (area.float() / math.pi).sqrt()[nearest] / size
    return Track(background, mask, centre, radius, found)


def fit(track: Track, shape: str, colour: str) -> Fit:
    """Least squares over the eight motions; place and size are free, amplitudes in `AMPLITUDES`."""
    measured = scene_path(track, shape, colour)
    frames, weight = len(measured), track.found.float()[:, None]
    if weight.mean() < 0.5:
        still = _mean(measured, weight).expand(frames, 3)
        return Fit("lost", 0.0, still, measured - still)
    candidates = (_fitted(measured, weight, motion) for motion in MOTIONS)
    return min(
        candidates, key=lambda candidate: float((weight * candidate.residual.square()).sum())
    )


def scene_path(track: Track, shape: str, colour: str) -> Tensor:
    """The track as a scene has it, `(frame, 3)`: a shape's centre and radius are not its mask's."""
    dx, dy, share = _calibration(shape, colour, track.background)
    radius = track.radius / share
    return torch.stack(
        (track.centre[:, 0] - dx * radius, track.centre[:, 1] - dy * radius, radius), dim=1
    )


def mask_place(scene: Scene, placed: Tensor) -> Tensor:
    """The inverse: from x, y and radius of a scene's shape, `(..., 3)`, to those of its mask."""
    dx, dy, share = _calibration(scene.shape, scene.colour, scene.background)
    x, y, radius = placed.unbind(dim=-1)
    return torch.stack((x + dx * radius, y + dy * radius, radius * share), dim=-1)


def background_of(clip: Tensor) -> str:
    """The pattern that the less differing half of all pixels is nearest to."""
    distances = {
        name: (clip - backdrop(name, clip.shape[-1]))
        .abs()
        .mean(dim=1)
        .flatten(1)
        .quantile(0.4, dim=1)
        .mean()
        for name in BACKGROUNDS
    }
    return min(distances, key=lambda name: float(distances[name]))


@functools.lru_cache(maxsize=16)
def backdrop(name: str, size: int) -> Tensor:
    """A background without any object, `(3, size, size)`."""
    return render_frame(Scene("circle", "red", "standing still", name, x=99.0), 0, size)


def _fitted(measured: Tensor, weight: Tensor, motion: str) -> Fit:
    template = path(_nominal(motion), len(measured)) - _rest()
    size = _mean(measured, weight)[2] / (_rest()[2] + _mean(template, weight)[2])
    template = template * torch.stack((torch.ones(()), torch.ones(()), size))
    deviation, shape = measured - _mean(measured, weight), template - _mean(template, weight)
    energy = float((weight * shape.square()).sum())
    amplitude = 0.0
    if energy > 0:
        amplitude = min(
            max(float((weight * shape * deviation).sum()) / energy, AMPLITUDES[0]), AMPLITUDES[1]
        )
    fitted = _mean(measured, weight) + amplitude * shape
    return Fit(motion, amplitude, fitted, measured - fitted)


def _nominal(motion: str) -> Scene:
    return Scene("circle", "red", motion, "grass")


def _rest() -> Tensor:
    return path(_nominal("standing still"), 1)[0]


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (weight * values).sum(dim=0) / weight.sum().clamp(min=1e-6)


@functools.cache
def _calibration(shape: str, colour: str, background: str) -> tuple[float, float, float]:
    """Of a shape of radius 1: its mask's centre of mass x, y, and the radius of as large a disc.

    Colour and background matter a little: a blue rim in the shade is hardly seen at night.
    """
    scene = Scene(shape, colour, "standing still", background)
    seen = track(render_frame(scene, 0)[None])
    dx, dy = ((seen.centre[0] - torch.tensor((scene.x, scene.y))) / scene.radius).tolist()
    return dx, dy, float(seen.radius[0]) / scene.radius


def _differs(clip: Tensor, background: Tensor) -> Tensor:
    shade = (clip * background).sum(dim=1) / background.square().sum(dim=0).clamp(min=1e-4)
    rest = clip - shade.clamp(*SHADES)[:, None] * background
    differs = (rest.square().sum(dim=1).sqrt() > THRESHOLD).float()
    return avg_pool2d(differs[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0] > 0.5


def _largest(mask: Tensor) -> Tensor:
    """The largest connected part of every frame's mask."""
    names = torch.arange(1.0, mask[0].numel() + 1).view(1, *mask.shape[1:]) * mask
    names = _spread(names, mask)
    counts = torch.zeros(len(mask), mask[0].numel() + 1)
    counts.scatter_add_(1, names.flatten(1).long(), torch.ones_like(names).flatten(1))
    return mask & (names == counts[:, 1:].argmax(dim=1)[:, None, None] + 1)


def _reached(mask: Tensor) -> Tensor:
    """What of the mask is connected with the frame's border: the rest are holes."""
    border = torch.ones_like(mask)
    border[:, 1:-1, 1:-1] = False
    return _spread((mask & border).float(), mask) > 0


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    """Let every value spread over its connected part of the mask until the largest has won."""
    while True:
        wider = max_pool2d(values[:, None], 3, stride=1, padding=1)[:, 0] * mask
        if torch.equal(wider, values):
            return values
        values = wider


def _nearest(found: Tensor) -> Tensor:
    """For every frame the nearest one in which the object was found (itself, if nowhere)."""
    frames = torch.arange(len(found))
    if not found.any():
        return frames
    distance = (frames[:, None] - frames[None]).abs() + len(found) * (~found)[None]
    return distance.argmin(dim=1)

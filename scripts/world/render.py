"""Rendering: signed distances, bevelled shading, a soft shadow; drawn large and averaged down.

Coordinates are fractions of the frame's side with y pointing down; a shape's own coordinates have
its radius as unit.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from world.scene import Scene

SIZE = 64
FRAMES = 16
TRAVEL = 0.35
SWING = 0.17
GROWTH = (0.68, 1.25)
PULSE = 0.25
_OVERSAMPLING = 2

_RGB = {
    "red": (0.90, 0.13, 0.13),
    "orange": (0.99, 0.54, 0.06),
    "yellow": (0.99, 0.90, 0.14),
    "green": (0.10, 0.72, 0.24),
    "blue": (0.13, 0.33, 0.95),
    "purple": (0.62, 0.20, 0.82),
}


def path(scene: Scene, frames: int = FRAMES) -> Tensor:
    """Centre x, centre y and radius in every frame, `(frames, 3)`, as fractions of the side."""
    frame = torch.arange(frames, dtype=torch.float32)
    along = frame / (FRAMES - 1) - 0.5
    wave = torch.sin(2 * math.pi * frame / FRAMES)
    x = torch.full_like(frame, scene.x)
    y = torch.full_like(frame, scene.y)
    radius = torch.full_like(frame, scene.radius)
    match scene.motion:
        case "moving left":
            x = x - TRAVEL * along
        case "moving right":
            x = x + TRAVEL * along
        case "rising":
            y = y - TRAVEL * along
        case "falling":
            y = y + TRAVEL * along
        case "growing":
            radius = radius * (GROWTH[0] + (GROWTH[1] - GROWTH[0]) * (along + 0.5))
        case "swinging from side to side":
            x = x + SWING * wave
        case "pulsing":
            radius = radius * (0.95 + PULSE * wave)
    return torch.stack((x, y, radius), dim=1)


def render(scene: Scene, frames: int = FRAMES, size: int = SIZE) -> Tensor:
    """The clip as `(frames, 3, size, size)`, values in [0, 1]."""
    images, index = distinct(scene, frames, size)
    return images[index]


def distinct(scene: Scene, frames: int = FRAMES, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """The clip's different frames `(n, 3, size, size)` and which each shows, `(frames,)`."""
    # Rounded, so that a wave's rise and fall meet in the same frames.
    track, index = torch.unique(
        (path(scene, frames) * 1e5).round() / 1e5, dim=0, return_inverse=True
    )
    return torch.stack([_frame(scene, row, size) for row in track]), index


def render_frame(scene: Scene, frame: int, size: int = SIZE) -> Tensor:
    """One frame of the clip, `(3, size, size)`, values in [0, 1]."""
    return _frame(scene, path(scene)[frame], size)


def _frame(scene: Scene, place: Tensor, size: int) -> Tensor:
    x, y, radius = place.tolist()
    side = size * _OVERSAMPLING
    u, v = _grid(side)
    px, py = (u - x) / radius, (v - y) / radius
    distance = _DISTANCES[scene.shape](px, py)
    pixel = 1.0 / (side * radius)
    shadow = _DISTANCES[scene.shape](px - 0.14, py - 0.18)
    image = _background(scene.background, side) * (1 - 0.35 * torch.sigmoid(-shadow / 0.07))
    cover = (0.5 - distance / pixel).clamp(0, 1)
    image = torch.lerp(image, _shaded(distance, _RGB[scene.colour], pixel), cover)
    return avg_pool2d(image[None], _OVERSAMPLING)[0]


def _shaded(distance: Tensor, rgb: tuple[float, float, float], pixel: float) -> Tensor:
    """A bevelled body lit from the upper left, with a highlight and a darker rim."""
    inside = (-distance / 0.6).clamp(0, 1)
    height = 0.6 * (1 - (1 - inside) ** 2).sqrt()
    dy, dx = torch.gradient(height, spacing=pixel)
    lambert = (0.42 * dx + 0.55 * dy + 0.72) / (dx.square() + dy.square() + 1).sqrt()
    lambert = lambert.clamp(0, 1)
    base = torch.tensor(rgb)[:, None, None]
    body = base * (0.52 + 0.58 * lambert)
    body = body + 0.55 * lambert.pow(24)
    rim = torch.sigmoid((distance + 0.075) / 0.03)
    return (body * (1 - 0.55 * rim)).clamp(0, 1)


@functools.lru_cache(maxsize=8)
def _grid(side: int) -> tuple[Tensor, Tensor]:
    line = (torch.arange(side) + 0.5) / side
    v, u = torch.meshgrid(line, line, indexing="ij")
    return u, v


def _circle(x: Tensor, y: Tensor) -> Tensor:
    return (x.square() + y.square()).sqrt() - 0.95


def _square(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.84


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    slope = math.sqrt(3) / 2
    sides = slope * x.abs() - 0.5 * (y + 1.08)
    return torch.maximum(sides, y - 0.72)


def _star(x: Tensor, y: Tensor, tip: float = 1.12, notch: float = 0.56) -> Tensor:
    sector = math.pi / 5
    angle = torch.atan2(x, -y)
    folded = (torch.remainder(angle + sector, 2 * sector) - sector).abs()
    length = (x.square() + y.square()).sqrt()
    px, py = length * folded.cos(), length * folded.sin()
    ex, ey = notch * math.cos(sector) - tip, notch * math.sin(sector)
    return ((px - tip) * ey - py * ex) / math.hypot(ex, ey)


def _heart(x: Tensor, y: Tensor, half: float = 0.86) -> Tensor:
    x, y = x.abs(), y - 0.1
    diamond = (x + y.abs() - half) / math.sqrt(2)
    lobe = ((x - half / 2).square() + (y + half / 2).square()).sqrt() - half / math.sqrt(2)
    return torch.minimum(diamond, lobe)


_DISTANCES = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
}


@functools.lru_cache(maxsize=16)
def _background(name: str, side: int) -> Tensor:
    u, v = _grid(side)
    return _BACKGROUNDS[name](u, v).clamp(0, 1)


def _mix(a: tuple[float, float, float], b: tuple[float, float, float], weight: Tensor) -> Tensor:
    return torch.lerp(
        torch.tensor(a)[:, None, None], torch.tensor(b)[:, None, None], weight.clamp(0, 1)[None]
    )


def _grass(u: Tensor, v: Tensor) -> Tensor:
    blades = torch.sin(46 * u + 3 * torch.sin(9 * v)) * torch.sin(21 * v + 4 * torch.sin(14 * u))
    return _mix((0.36, 0.47, 0.20), (0.55, 0.66, 0.33), 0.5 + 0.35 * blades + 0.25 * (0.5 - v))


def _night_sky(u: Tensor, v: Tensor) -> Tensor:
    sky = _mix((0.03, 0.04, 0.14), (0.13, 0.14, 0.32), v)
    for x, y, size in _STARS:
        sky = sky + 0.85 * torch.exp(-((u - x).square() + (v - y).square()) / (2 * size**2))
    moon = (u - 0.87).square() + (v - 0.13).square() < 0.075**2
    bite = (u - 0.835).square() + (v - 0.11).square() < 0.07**2
    return torch.where(moon & ~bite, torch.tensor((0.95, 0.93, 0.78))[:, None, None], sky)


_STARS = (
    (0.08, 0.10, 0.011), (0.27, 0.06, 0.009), (0.46, 0.12, 0.010), (0.65, 0.05, 0.009),
    (0.14, 0.33, 0.009), (0.93, 0.36, 0.011), (0.06, 0.60, 0.010), (0.95, 0.66, 0.009),
    (0.12, 0.88, 0.011), (0.36, 0.94, 0.010), (0.60, 0.90, 0.009), (0.88, 0.91, 0.011),
    (0.78, 0.22, 0.008), (0.22, 0.74, 0.008),
)  # fmt: skip


def _sea(u: Tensor, v: Tensor) -> Tensor:
    crest = torch.sin(34 * v + 1.6 * torch.sin(9 * u + 5 * v))
    water = _mix((0.12, 0.42, 0.55), (0.32, 0.66, 0.74), 0.45 + 0.3 * crest + 0.35 * (0.5 - v))
    foam = ((crest - 0.86) / 0.14).clamp(0, 1) * (0.5 + 0.5 * torch.sin(13 * u + 8 * v))
    return water + 0.28 * foam


def _sand(u: Tensor, v: Tensor) -> Tensor:
    ripple = torch.sin(26 * (v + 0.12 * torch.sin(5 * u)) + 6 * u)
    return _mix((0.74, 0.62, 0.44), (0.92, 0.83, 0.66), 0.5 + 0.35 * ripple)


_BACKGROUNDS = {"grass": _grass, "night sky": _night_sky, "sea": _sea, "sand": _sand}

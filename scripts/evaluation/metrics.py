"""How well a clip is drawn: steady, with contrast, sharpness, colours, features of a render."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, max_pool2d

from evaluation.tracking import track
from world.render import render, render_frame
from world.scene import Scene

SHADOW_OFFSET = (0.14, 0.18)
SHADOW_REACH = 0.4
EDGE = 2


def flicker(clip: Tensor, mask: Tensor) -> float:
    """Mean absolute change between frames, in levels of 0-255, off the object and its shadow.

    Args:
        clip: `(frame, 3, size, size)` in [0, 1].
        mask: the object, `(frame, size, size)`, bool.
    """
    free = ~covered(mask)
    both = (free[1:] & free[:-1])[:, None].expand(-1, 3, -1, -1)
    change = (clip[1:] - clip[:-1]).abs()
    return float(255 * change[both].mean()) if both.any() else float("nan")


def covered(mask: Tensor) -> Tensor:
    """The mask with its edge and its soft shadow: `(frame, size, size)`, bool.

    The shadow's reach grows with the object.
    """
    sizes = (mask.sum(dim=(1, 2)) / torch.pi).sqrt().tolist()
    return torch.stack(
        [_with_shadow(part, radius) for part, radius in zip(mask, sizes, strict=True)]
    )


def _with_shadow(mask: Tensor, radius: float) -> Tensor:
    dx, dy = (round(offset * radius) for offset in SHADOW_OFFSET)
    height, width = mask.shape
    shadow = torch.zeros_like(mask)
    shadow[dy:, dx:] = mask[: height - dy, : width - dx]
    return _grown(mask, EDGE) | _grown(shadow, EDGE + round(SHADOW_REACH * radius))


def _grown(mask: Tensor, by: int) -> Tensor:
    """By alternating squares and crosses: an octagon, near enough to a disc."""
    values = mask.float()[None, None]
    for step in range(by):
        if step % 2:
            values = max_pool2d(values, 3, stride=1, padding=1)
        else:
            across = max_pool2d(values, (1, 3), stride=1, padding=(0, 1))
            values = torch.maximum(across, max_pool2d(values, (3, 1), stride=1, padding=(1, 0)))
    return values[0, 0] > 0


def contrast(clip: Tensor, scene: Scene) -> float:
    """Standard deviation of all pixels over that of the render of the same scene."""
    return float(clip.std() / _twin(clip, scene).std())


def sharpness(clip: Tensor, scene: Scene) -> float:
    """Mean squared difference of neighbouring pixels over that of the render of the same scene."""
    return _roughness(clip) / _roughness(_twin(clip, scene))


def colour_shift(clip: Tensor, scene: Scene, mask: Tensor) -> float:
    """How far the object's mean hue is turned from that of its render, in degrees of [0, 180].

    Args:
        clip: `(frame, 3, size, size)` in [0, 1].
        scene: what the clip shows.
        mask: the object, `(frame, size, size)`, bool.
    """
    if not mask.any():
        return float("nan")
    turn = math.degrees(
        _hue(clip, mask) - _rendered_hue(scene.shape, scene.colour, scene.background)
    )
    return abs((turn + 180) % 360 - 180)


@functools.cache
def _rendered_hue(shape: str, colour: str, background: str) -> float:
    still = render_frame(Scene(shape, colour, "standing still", background), 0)[None]
    return _hue(still, track(still).mask)


def _hue(clip: Tensor, mask: Tensor) -> float:
    """The angle of the mean colour beside grey in radians; 0 is red."""
    red, green, blue = (float(channel[mask].mean()) for channel in clip.unbind(dim=1))
    return math.atan2(math.sqrt(3) / 2 * (green - blue), red - (green + blue) / 2)


def subject_consistency(features: Tensor) -> float:
    """How alike the object is in all frames: cosine similarity of `(frame, width)`, in [-1, 1].

    Of each frame to the first and to the one before it, averaged, as VBench does with its own
    features.
    """
    later = features[1:]
    to_first = cosine_similarity(later, features[:1].expand_as(later), dim=1)
    return float((to_first + cosine_similarity(later, features[:-1], dim=1)).mean() / 2)


def _twin(clip: Tensor, scene: Scene) -> Tensor:
    return render(scene, len(clip), clip.shape[-1])


def _roughness(clip: Tensor) -> float:
    return float(sum(clip.diff(dim=axis).square().mean() for axis in (2, 3)))

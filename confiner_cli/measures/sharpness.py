"""How sharp a video is, whatever its brightness and contrast."""

from __future__ import annotations

from dataclasses import dataclass

from confiner_cli.measures.pictures import Luma, Picture, contrast, luma, roughness

LEAST_CONTRAST = 0.5
"""In levels of 0 to 255: a picture with less shows nothing that could be sharp."""


def sharpness_of(levels: Luma) -> float:
    """Of one picture, in [0, 2]: how far neighbouring pixels differ, over how far all do.

    Gradient energy (Tenenbaum's focus measure) over variance, and the root of it, so that neither
    an offset nor a gain of the brightness changes it: `sqrt(2 (1 - r))`, where r is the correlation
    of neighbouring pixels. White noise has 1.41, a picture of one colour 0.
    """
    return roughness(levels) / max(contrast(levels), LEAST_CONTRAST)


@dataclass
class Sharpness:
    """The mean over frames of `sharpness_of`; larger is sharper.

    What it is for one content is not what it is for another, nor in another size: compare videos of
    one prompt and size. Noise is sharp, too.
    """

    _sum: float = 0.0
    _count: int = 0

    def add(self, picture: Picture) -> None:
        """The next frame."""
        self._sum += sharpness_of(luma(picture))
        self._count += 1

    def value(self) -> float:
        """In [0, 2]."""
        return self._sum / self._count

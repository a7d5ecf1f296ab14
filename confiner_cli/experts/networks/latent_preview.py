"""A cheap decoder: a few convolutions over the latents, each of which becomes a block of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

COLOURS = 3


@dataclass(frozen=True)
class Decoded:
    """What `decode` returns. `sample` is `(frame, 3, height, width)`, about [-1, 1]."""

    sample: Tensor


class LatentPreview(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """All layers but the last see a latent with the eight around it; the last one makes its pixels.

    Nothing is computed at more places than there are latents. At the border the outermost ones are
    repeated. `scripts/fit_preview.py` fits it to a VAE.

    Args:
        latent_channels: of the latents, as the UNets see them.
        factor: pixels of a frame's side per latent.
        width: numbers for each latent between the layers.
        layers: before the last one.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, latent_channels: int = 4, factor: int = 8, width: int = 64, layers: int = 3
    ) -> None:
        super().__init__()
        self.factor = factor
        widths = [latent_channels, *[width] * layers]
        self.near = nn.ModuleList(
            nn.Conv2d(one, other, 3, padding=1, padding_mode="replicate")
            for one, other in pairwise(widths)
        )
        self.pixels = nn.Conv2d(width, COLOURS * factor**2, 1)

    def decode(self, latents: Tensor) -> Decoded:
        """Frames of latents `(frame, channel, height, width)`."""
        for layer in self.near:
            latents = nn.functional.silu(layer(latents))
        return Decoded(pixel_shuffle(self.pixels(latents), self.factor))

"""The latent spaces of published models, by the names that experts' configs give them. No torch."""

from __future__ import annotations

from types import MappingProxyType

from confiner_cli.method.latent_space import LatentSpace

LATENT_SPACES = MappingProxyType({
    "tiny": LatentSpace(),
    "stable_diffusion": LatentSpace(),
    "wan21": LatentSpace(channels=16, time_factor=4, patch=2),
    "wan22": LatentSpace(channels=48, factor=16, time_factor=4, patch=2),
})  # fmt: skip
"""Those of the embedded VAE, of Stable Diffusion 1's, of Wan 2.1's, and of Wan 2.2's 5B."""

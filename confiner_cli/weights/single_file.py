"""Which networks are in one file, as Stable Diffusion's checkpoints are passed around."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

from confiner_cli.weights.select import read_header

PREFIXES = MappingProxyType({
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.",
})  # fmt: skip
"""What the names of a component's tensors begin with in the original layout."""


def has(path: Path, name: str) -> bool:
    """Whether a file holds the component `name`, by the names of its tensors.

    Raises:
        OSError, ValueError: it is damaged.
    """
    if path.suffix != ".safetensors" or name not in PREFIXES:
        return False
    return any(key.startswith(PREFIXES[name]) for key in read_header(path))

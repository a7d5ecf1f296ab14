"""Networks out of one file, as Stable Diffusion's checkpoints are passed around: the UNet, VAE and text in one."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from confiner_cli.weights.select import read_header

PREFIXES = MappingProxyType({
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.",
})  # fmt: skip
"""What a part's tensors begin with in the original layout."""


def has(path: Path, name: str) -> bool:
    """Whether a file holds the part `name`, by the names of its tensors. Raises OSError, ValueError: it is damaged."""
    if path.suffix != ".safetensors" or name not in PREFIXES:
        return False
    return any(key.startswith(PREFIXES[name]) for key in read_header(path))


def load(path: Path, kind: Any, device: torch.device, dtype: torch.dtype, config: Path) -> Any:
    """The model `kind` out of the file; `config` is the folder of its config.json. Raises what diffusers raises."""
    if hasattr(kind, "from_single_file"):
        model = kind.from_single_file(
            str(path), config=str(config), torch_dtype=dtype, local_files_only=True
        )
    else:
        from diffusers.loaders.single_file_utils import (
            create_diffusers_clip_model_from_ldm,
            load_single_file_checkpoint,
        )

        tensors = load_single_file_checkpoint(str(path))
        model = create_diffusers_clip_model_from_ldm(
            kind,
            tensors,
            config=str(config.parent),
            subfolder=config.name,
            torch_dtype=dtype,
            local_files_only=True,
        )
    return model.to(device=device, dtype=dtype)

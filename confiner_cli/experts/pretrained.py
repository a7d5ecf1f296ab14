"""Networks as diffusers and transformers read them: from a folder of theirs, or out of one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from confiner_cli.weights.select import choice

OBSOLETE = "position_ids"
"""What published text encoders have and today's do not."""


def from_folder(
    folder: Path, kind: Any, device: torch.device, dtype: torch.dtype, pickles: bool
) -> Any:
    """The network of a component's folder, straight to its device.

    Args:
        folder: with config.json and weights, as diffusers saves them.
        kind: the class, diffusers' or transformers'.
        device: where it goes.
        dtype: what it computes in.
        pickles: whether its weights may be pickles where there is nothing else.

    Raises:
        ValueError: the weights are not all there, or not this network's; and what the library
            raises.
    """
    chosen = choice({path.name for path in folder.iterdir()}, pickles)
    if chosen is None:
        raise ValueError("it has no safetensors weights, or not all of their files")
    variant, names = chosen
    module, info = kind.from_pretrained(
        folder,
        torch_dtype=dtype,
        variant=variant,
        local_files_only=True,
        use_safetensors=not names[0].endswith(".bin"),
        device_map={"": str(device)},
        output_loading_info=True,
    )
    missing = sorted(info["missing_keys"])
    if missing:  # they would be left at random values
        raise ValueError(f"the weights lack {len(missing)} tensors, {missing[0]} for one")
    unknown = sorted(key for key in info["unexpected_keys"] if not key.endswith(OBSOLETE))
    if unknown:
        raise ValueError(f"the weights have {len(unknown)} unknown tensors, {unknown[0]} for one")
    return module


def from_single_file(
    path: Path, kind: Any, device: torch.device, dtype: torch.dtype, config: Path
) -> Any:
    """The network of a kind out of a file in the original layout.

    Args:
        path: the file, which may hold other networks, too.
        kind: the class, diffusers' or transformers'.
        device: where it goes.
        dtype: what it computes in.
        config: the folder of its config.json.

    Raises:
        ValueError: and all else that diffusers raises.
    """
    if hasattr(kind, "from_single_file"):
        module = kind.from_single_file(
            str(path), config=str(config), torch_dtype=dtype, local_files_only=True
        )
    else:
        module = _text_from_single_file(path, kind, dtype, config)
    return module.to(device)


def _text_from_single_file(path: Path, kind: Any, dtype: torch.dtype, config: Path) -> Any:
    # transformers reads no single files; diffusers does it inside its pipelines.
    from diffusers.loaders.single_file_utils import (
        create_diffusers_clip_model_from_ldm,
        load_single_file_checkpoint,
    )

    return create_diffusers_clip_model_from_ldm(
        kind,
        load_single_file_checkpoint(str(path)),
        config=str(config.parent),
        subfolder=config.name,
        torch_dtype=dtype,
        local_files_only=True,
    )

"""What is in one file, by the names of its tensors: the networks of a checkpoint, or what else."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from types import MappingProxyType

from confiner_cli.weights.select import read_header, read_metadata

SAFE = ".safetensors"
PREFIXES = MappingProxyType({
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.",
})  # fmt: skip
"""What the names of a component's tensors begin with in the original layout."""
BARE_UNETS = (
    ("input_blocks.0.0.weight", "time_embed.0.weight"),
    ("conv_in.weight", "time_embedding.linear_1.weight"),
)
"""Tensors that tell a UNet that is alone in a file: in the original layout, and in diffusers'."""
LORA = "a LoRA"
_OTHERS = (
    (r"lora_|\.lora\.|\.lora_|_lora\.|hada_w|lokr_w", LORA),
    (r"motion_modules\..*(temporal_transformer|pos_encoder|norm|proj_in)", "a motion adapter"),
    (r"^(module\.)?control_model\.|^controlnet_|^zero_convs\.", "a ControlNet"),
    (r"^(string_to_param|emb_params|clip_[lg])$|^<.*>$", "a textual inversion"),
    (r"^conditioner\.embedders\.", "a checkpoint of Stable Diffusion XL"),
    (r"^(shared\.weight|token_embedding\.weight)$|^encoder\.block\.", "a text encoder (T5)"),
    (r"^(first_stage_model\.|encoder\.|decoder\.|quant_conv\.|post_quant_conv\.)", "a VAE"),
    (r"^(cond_stage_model\.|text_model\.)", "a text encoder"),
    (
        r"^(model\.diffusion_model\.)?(transformer_blocks|double_blocks|joint_blocks|blocks)\.",
        "a transformer",
    ),
    (r"^(unet\.)?(down_blocks|mid_block|up_blocks)\.|^input_blocks\.", "a part of a UNet"),
)
"""Names that tell what a file holds, the most telling first."""


def names_in(path: Path) -> Collection[str]:
    """The names of a file's tensors. Of a pickle nothing is run, and tensors are not read.

    Raises:
        OSError, ValueError: it is damaged.
        ConfinerError: a pickle that holds more than tensors.
    """
    if path.suffix == SAFE:
        return read_header(path)
    from confiner_cli.weights.tensors import read_tensors  # torch, for a pickle alone

    return read_tensors(path)


def has(path: Path, name: str) -> bool:
    """Whether a file holds the component `name`: beside others, or a UNet alone.

    Raises: as `names_in`.
    """
    if name not in PREFIXES:
        return False
    names = names_in(path)
    inside = any(key.startswith(PREFIXES[name]) for key in names)
    return inside or (name == "unet" and is_bare_unet(names))


def is_bare_unet(names: Collection[str]) -> bool:
    """Whether these are the tensors of a UNet alone."""
    return any(all(key in names for key in telling) for telling in BARE_UNETS)


def described(names: Iterable[str]) -> str:
    """What a file with tensors of these names is, in a few words."""
    listed = list(names)
    for pattern, kind in _OTHERS:
        if any(re.search(pattern, name) for name in listed):
            return kind
    return "nothing that is known here"


def in_channels(path: Path) -> int | None:
    """How many channels a checkpoint's UNet takes; None where its header does not tell."""
    if path.suffix != SAFE:
        return None
    header = read_header(path)
    for name in ("input_blocks.0.0.weight", "conv_in.weight"):
        for key in (PREFIXES["unet"] + name, name):
            if key in header:
                return header[key].shape[1]
    return None


def prediction_type(path: Path) -> str | None:
    """What a checkpoint says by Stability's ModelSpec; None where it says nothing."""
    said = read_metadata(path).get("modelspec.prediction_type", "") if path.suffix == SAFE else ""
    return {"v": "v_prediction"}.get(said, said) or None

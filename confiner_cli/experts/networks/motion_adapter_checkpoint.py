"""AnimateDiff's motion modules in one file: in its own names (`mm_*.ckpt`) or in diffusers'.

Also as training leaves them: behind `module.`, among the weights of the UNet that they are in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from diffusers.models.unets.unet_motion_model import MotionAdapter
from torch import Tensor, nn

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.empty import without_parameters
from confiner_cli.weights.tensors import fill, read_tensors

KIND = "motion adapter for this UNet"
MODULES = "motion_modules."
POSITIONS = "pos_embed.pe"
_BLOCK = re.compile(r"(?:^|\.)((?:down_blocks|mid_block|up_blocks)\..+)")
_LEVEL = re.compile(r"down_blocks\.(\d+)\.")
_OWN_POSITIONS = re.compile(r"attention_blocks\.\d+\.pos_encoder\.pe$")


def load_adapter(path: Path, base: nn.Module, config: Mapping[str, Any]) -> MotionAdapter:
    """The motion modules of a file, for a UNet, on its device, in the file's own precision.

    Args:
        path: AnimateDiff's file or diffusers' state dict; a pickle is read with `weights_only`.
        base: diffusers' UNet that they go into: it says how wide and how deep they are.
        config: a MotionAdapter's: what neither the tensors nor the base say. A `config.json` of one
            beside the file comes before it.

    Raises:
        ConfinerError: the file is damaged, was made for another UNet, or is something else.
    """
    device = next(base.parameters()).device
    tensors = motion_tensors(read_tensors(path, device), base.state_dict(), path)
    adapter = _empty(path, tensors, base, config)
    if not any(name.endswith(POSITIONS) for name in tensors):
        tensors |= _sinusoids(adapter)
    return fill(adapter, tensors, path, KIND).to(device)


def empty_adapter(path: Path, base: nn.Module, config: Mapping[str, Any]) -> MotionAdapter:
    """As `load_adapter`, without its weights, on the meta device, where `base` may be, too."""
    tensors = motion_tensors(read_tensors(path), base.state_dict(), path)
    return _empty(path, tensors, base, config)


def _empty(
    path: Path, tensors: Mapping[str, Tensor], base: nn.Module, config: Mapping[str, Any]
) -> MotionAdapter:
    shape: Any = base.config
    _check_levels(tensors, len(shape["block_out_channels"]), path)
    with without_parameters():
        return MotionAdapter.from_config({
            **config,
            **_config_beside(path),
            **_stated(tensors),
            "block_out_channels": shape["block_out_channels"],
            "motion_layers_per_block": shape["layers_per_block"],
            "motion_norm_num_groups": shape["norm_num_groups"],
        })  # fmt: skip


def motion_tensors(
    tensors: Mapping[str, Tensor], base: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """The tensors of motion modules in diffusers' names, whatever they are called in the file.

    Args:
        tensors: all that the file has, by its own names.
        base: those of the UNet that the modules go into. What training has saved beside the modules
            is this UNet's, and is left out as AnimateDiff itself leaves it out.
        path: for messages.

    Raises:
        ConfinerError: it has none, has more than these, or is an adapter of another kind.
    """
    # It takes a second to import, and most adapters are in folders.
    from diffusers.loaders.single_file_utils import convert_animatediff_checkpoint_to_diffusers

    _check_kind(tensors, path)
    named = _without_prefixes(tensors)
    own = {name: value for name, value in named.items() if not _is_of(base, name, value)}
    positions = dict(_positions(own, path))
    return {**convert_animatediff_checkpoint_to_diffusers(own), **positions}


def _check_kind(tensors: Mapping[str, Tensor], path: Path) -> None:
    if any("lora" in name for name in tensors):
        raise ConfinerError(
            f"{path} is a LoRA, and no motion adapter",
            f"experts.control.loras=[{{path:{path}}}] beside a motion adapter",
        )
    if any("temporal_attentions." in name for name in tensors):
        raise ConfinerError(
            f"{path} is HotshotXL's motion adapter, made for SDXL",
            "use one that was made for Stable Diffusion 1.5, such as mm_sd_v15_v2.ckpt",
        )
    if not any(MODULES in name for name in tensors):
        raise ConfinerError(
            f"{path} has no motion modules", "name AnimateDiff's file, such as mm_sd_v15_v2.ckpt"
        )


def _without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By their names in a UNet; what is in none of its blocks keeps its name but for `module.`."""
    named = {}
    for name, value in tensors.items():
        block = _BLOCK.search(name)
        named[block[1] if block else name.removeprefix("module.")] = value
    return named


def _is_of(base: Mapping[str, Tensor], name: str, value: Tensor) -> bool:
    return MODULES not in name and name in base and base[name].shape == value.shape


def _positions(tensors: Mapping[str, Tensor], path: Path) -> Iterator[tuple[str, Tensor]]:
    """AnimateDiff writes a block's frame positions once for each attention, diffusers once."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if not _OWN_POSITIONS.search(name):
            continue
        ours = _OWN_POSITIONS.sub(POSITIONS, name).replace(".temporal_transformer", "")
        if not torch.equal(found.setdefault(ours, value), value):
            raise ConfinerError(
                f"{path} has two kinds of frame positions in one block: {name}",
                "diffusers has one: use another motion adapter",
            )
    yield from found.items()


def _check_levels(tensors: Mapping[str, Tensor], levels: int, path: Path) -> None:
    found = {int(match[1]) for name in tensors if (match := _LEVEL.match(name))}
    if found and max(found) + 1 != levels:
        raise ConfinerError(
            f"{path} was made for another UNet, of {max(found) + 1} levels (Stable Diffusion's has "
            f"4, SDXL's 3); this one has {levels}",
            "use a motion adapter that was made for this expert's base model",
        )


def _stated(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the tensors say of their adapter's config."""
    middle = any(name.startswith("mid_block.") for name in tensors)
    lengths = [value.shape[1] for name, value in tensors.items() if name.endswith(POSITIONS)]
    stated: dict[str, Any] = {"use_motion_mid_block": middle}
    if lengths:
        stated["motion_max_seq_length"] = lengths[0]
    return stated


def _config_beside(path: Path) -> dict[str, Any]:
    place = path.with_name("config.json")
    try:
        config = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    except ValueError as error:
        raise ConfinerError(f"{place} is no JSON", f"mend or remove {place}") from error
    return config if config.get("_class_name") == MotionAdapter.__name__ else {}


def _sinusoids(adapter: nn.Module) -> dict[str, Tensor]:
    """The frame positions that every published adapter has: some files leave them out."""
    shapes = {name: value.shape for name, value in adapter.state_dict().items()}
    return {
        name: SinusoidalPositionalEmbedding(shape[2], shape[1]).pe
        for name, shape in shapes.items()
        if name.endswith(POSITIONS)
    }

"""AnimateDiff experts (UNetMotionModel): a Stable Diffusion UNet with a motion adapter.

The adapter may be a single file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from torch import Tensor, nn

from confiner_cli.experts.components import Components, Configs, Files, without_weights
from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.weights.tensors import fill, read_tensors

CONFIG = "unet"
FRAMEWISE = False
FOLDER_HAS_SCHEDULE = False  # a pipeline folder's is its base model's
POSITIONS = "down_blocks.0.motion_modules.0.transformer_blocks.0.pos_embed.pe"


def build(configs: Configs) -> nn.Module:
    """A UNet and the motion modules in it."""
    base = UNet2DConditionModel.from_config(configs["unet"])
    unet: nn.Module = UNetMotionModel.from_unet2d(
        base, MotionAdapter.from_config(configs["motion_adapter"])
    )
    return unet


def sources(components: Components) -> Files:
    """Those of the base and of the adapter."""
    return {name: components.sources(name) for name in ("unet", "motion_adapter")}


def skeleton(components: Components) -> nn.Module:
    """As `unet/` states it, and the adapter or its tensors."""
    if components.place("motion_adapter").is_dir():
        return without_weights(build, components, "unet", "motion_adapter")
    base = components.config("unet")
    adapter = _empty(base, read_tensors(components.place("motion_adapter")))
    with torch.device("meta"):
        return build({"unet": base, "motion_adapter": adapter.config})


def text_width(components: Components) -> int:
    """As `unet/` states it."""
    return int(components.config("unet")["cross_attention_dim"])


def load(components: Components) -> nn.Module:
    """Load `unet/` and `motion_adapter/` and put the one into the other, with no second copy."""
    base = components.model("unet", UNet2DConditionModel)
    place = components.place("motion_adapter")
    adapter = (
        components.model("motion_adapter", MotionAdapter)
        if place.is_dir()
        else _bare(components, place, base.config)
    )
    with torch.device("meta"):
        unet = build({"unet": base.config, "motion_adapter": adapter.config})
    unet.load_state_dict({**base.state_dict(), **adapter.state_dict()}, assign=True)
    return unet.eval().requires_grad_(False)


def predict(unet: nn.Module, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
    """The UNet's own layout is ours; it wants the text once a frame."""
    batch, _, count, _, _ = x_t.shape
    prediction: Tensor = unet(x_t, t, conditioning.for_batch(batch * count).states).sample
    return prediction


def _bare(components: Components, path: Path, base: Mapping[str, Any]) -> MotionAdapter:
    """An adapter published as a file without a config: its tensors and its base say what it is."""
    tensors = read_tensors(path, components.device)
    adapter = _empty(base, tensors)
    return fill(adapter, tensors, path, "motion adapter for this UNet").to(components.dtype)


def _empty(base: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MotionAdapter:
    """The adapter that some tensors are of, without them, on the meta device."""
    with torch.device("meta"):
        return MotionAdapter(
            block_out_channels=base["block_out_channels"],
            motion_layers_per_block=base["layers_per_block"],
            motion_norm_num_groups=base["norm_num_groups"],
            motion_max_seq_length=tensors[POSITIONS].shape[1] if POSITIONS in tensors else 32,
            use_motion_mid_block=any(key.startswith("mid_block.") for key in tensors),
        )

"""AnimateDiff experts (UNetMotionModel): a Stable Diffusion UNet with a motion adapter.

The adapter may be a single file, AnimateDiff's own or diffusers'.
"""

from __future__ import annotations

from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter, UNetMotionModel
from torch import Tensor, nn

from confiner_cli.errors import ConfinerError, first_line
from confiner_cli.experts.components import Components, Configs, Files, without_weights
from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.empty import without_parameters
from confiner_cli.experts.networks.motion_adapter_checkpoint import empty_adapter, load_adapter

FRAMEWISE = False
CLASS = "UNet2DConditionModel"
FOLDER_HAS_SCHEDULE = False  # a pipeline folder's is its base model's


def build(configs: Configs) -> nn.Module:
    """A UNet and the motion modules in it."""
    base = UNet2DConditionModel.from_config(configs["unet"])
    return _joined(base, MotionAdapter.from_config(configs["motion_adapter"]))


def _joined(base: nn.Module, adapter: nn.Module) -> nn.Module:
    """A UNet of their sizes, which has none of their weights."""
    unet: nn.Module = UNetMotionModel.from_unet2d(base, adapter, load_weights=False)
    return unet


def sources(components: Components) -> Files:
    """Those of the base and of the adapter."""
    return {name: components.sources(name) for name in ("unet", "motion_adapter")}


def skeleton(components: Components) -> nn.Module:
    """As `unet/` states it, and the adapter or its tensors."""
    if components.place("motion_adapter").is_dir():
        return without_weights(build, components, "unet", "motion_adapter")
    config = components.config("unet")
    with without_parameters():
        base = UNet2DConditionModel.from_config(config)
    place = components.place("motion_adapter")
    adapter = empty_adapter(place, base, components.config("motion_adapter"))
    with without_parameters():
        return build({"unet": config, "motion_adapter": adapter.config})


def text_width(components: Components) -> int:
    """As `unet/` states it."""
    return int(components.config("unet")["cross_attention_dim"])


def load(components: Components) -> nn.Module:
    """Load `unet/` and `motion_adapter/` and put the one into the other, with no second copy."""
    base = components.model("unet", UNet2DConditionModel)
    adapter = _adapter(components, base)
    try:
        with without_parameters():
            unet = _joined(base, adapter)
        unet.load_state_dict({**base.state_dict(), **adapter.state_dict()}, assign=True)
    except (ValueError, RuntimeError) as error:
        place = components.place("motion_adapter")
        raise ConfinerError(
            f"the {components.role} expert's motion adapter in {place} does not fit its UNet: "
            f"{first_line(error)}",
            "use a motion adapter that was made for this expert's base model",
        ) from error
    return unet.eval().requires_grad_(False)


def predict(unet: nn.Module, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
    """The UNet's own layout is ours; it wants the text once a frame."""
    batch, _, count, _, _ = x_t.shape
    _check_frames(unet, count)
    prediction: Tensor = unet(x_t, t, **conditioning.told(batch * count)).sample
    return prediction


def _check_frames(unet: Any, count: int) -> None:
    """Hold the number of frames against the frame positions that the adapter has."""
    positions = unet.config["motion_max_seq_length"]
    if count > positions:
        raise ConfinerError(
            f"{count} frames at once are more than the motion adapter has positions for: "
            f"{positions}",
            f"experts.control.max_frames={positions}, and long_video=confiner_long for more frames",
        )


def _adapter(components: Components, base: nn.Module) -> MotionAdapter:
    place = components.place("motion_adapter")
    if place.is_dir():
        return components.model("motion_adapter", MotionAdapter)
    adapter = load_adapter(place, base, components.config("motion_adapter"))
    return adapter.to(components.dtype)

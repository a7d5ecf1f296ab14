"""LaVie experts (our LaVieUNet): one file, `lavie_base.safetensors` or the published `.pt`."""

from __future__ import annotations

from torch import Tensor, nn

from confiner_cli.experts.components import Components, Configs, Files
from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.networks.lavie import LaVieUNet
from confiner_cli.experts.networks.lavie_checkpoint import config_beside, empty_unet, load_unet

FRAMEWISE = False
CLASS = ""
FOLDER_HAS_SCHEDULE = False  # there is none to state it
CHECKPOINT = "lavie_base"
WIDTH = 768


def build(configs: Configs) -> nn.Module:
    """The UNet of a diffusers UNet config's keys; the published one's where there are none."""
    config = configs["unet"]
    return LaVieUNet(**{key: value for key, value in config.items() if not key.startswith("_")})


def sources(components: Components) -> Files:
    """The checkpoint, and the config beside it."""
    checkpoint = components.checked("checkpoint", components.checkpoint(CHECKPOINT))
    config = checkpoint.with_name("config.json")
    return {"unet": (checkpoint, config) if config.is_file() else (checkpoint,)}


def skeleton(components: Components) -> nn.Module:
    """As the config beside the checkpoint states it."""
    return empty_unet(components.checkpoint(CHECKPOINT))


def text_width(components: Components) -> int:
    """As the config beside the checkpoint states it."""
    return int(config_beside(components.checkpoint(CHECKPOINT)).get("cross_attention_dim", WIDTH))


def load(components: Components) -> nn.Module:
    """Load the checkpoint that the model's folder holds, or that the model is."""
    return load_unet(components.checkpoint(CHECKPOINT)).to(components.device, components.dtype)


def predict(unet: nn.Module, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
    """The UNet's own layout is ours."""
    prediction: Tensor = unet(x_t, t, **conditioning.told(len(x_t))).sample
    return prediction

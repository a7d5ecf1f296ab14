"""Wan experts (WanTransformer3DModel): 2.1, the networks of 2.2's pair, and what was made of them.

A sample is the whole video: every token of it attends to every other one. A network of 2.2's pair
is an expert of its own: `network: transformer_2` is the one for low noise.
"""

from __future__ import annotations

from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn

from confiner_cli.experts.components import Components, Configs, Files, without_weights
from confiner_cli.experts.conditioning import Conditioning

FRAMEWISE = False
CLASS = "WanTransformer3DModel"
FOLDER_HAS_SCHEDULE = True
UNUSED = (r"blocks\.\d+\.to_gate_compress\.(weight|bias)",)
"""FastWan's gates of sparse attention, which attention to all tokens has no use for."""


def build(configs: Configs) -> nn.Module:
    """The transformer of a Wan folder."""
    (config,) = configs.values()
    transformer: nn.Module = WanTransformer3DModel.from_config(config)
    return transformer


def sources(components: Components) -> Files:
    """Those of the transformer."""
    return {components.network: components.sources(components.network)}


def skeleton(components: Components) -> nn.Module:
    """As its config states it."""
    return without_weights(build, components, components.network)


def text_width(components: Components) -> int:
    """As its config states it."""
    return int(components.config(components.network)["text_dim"])


def load(components: Components) -> nn.Module:
    """Load the transformer; its norms and its times stay in float32, as diffusers keeps them."""
    transformer: nn.Module = components.model(
        components.network, WanTransformer3DModel, allowed=UNUSED
    )
    return transformer


def predict(unet: nn.Module, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
    """The transformer's own layout is ours; it wants a timestep for each sample."""
    states = conditioning.for_batch(len(x_t)).states
    prediction: Tensor = unet(x_t, t.expand(len(x_t)), states, return_dict=False)[0]
    return prediction

"""Attention to a text whose keys and values are computed once, and not for each frame and step.

They depend on the text and the weights alone. A small video has fewer pixels in a frame than its
text has tokens, so they are a good part of a pass. And what is the same for all frames of a sample
is not repeated: their queries are one long sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.transformers.dual_transformer_2d import DualTransformer2DModel
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

TextMemory: TypeAlias = tuple[tuple[Tensor, Tensor], ...]
"""Of each layer that reads the text, in the network's order, the text's keys and values: each
`(sample, head, token, channel)`. Empty where a network has to be given the text itself."""


class Attend(AttnProcessor2_0):  # type: ignore[misc]
    """diffusers' plain attention, with the text's keys and values where they are given.

    Args:
        number: which of the network's layers this is that read the text; None does not read it.
    """

    def __init__(self, number: int | None) -> None:
        super().__init__()
        self.number = number

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        text: TextMemory = (),
    ) -> Tensor:
        """Attend in `(batch * frame, position, channel)`, which is kept.

        With `text`, the batch is that of its samples, each so many times as it divides it.
        """
        if attention_mask is not None:
            masked: Tensor = super().__call__(
                attn, hidden_states, encoder_hidden_states, attention_mask, temb
            )
            return masked
        if text and self.number is not None:
            keys, values = text[self.number]
        else:
            heard = hidden_states if encoder_hidden_states is None else encoder_hidden_states
            keys, values = _keys_and_values(attn, heard)
        queries = attn.to_q(hidden_states).reshape(len(keys), -1, attn.heads, keys.shape[-1])
        seen = scaled_dot_product_attention(queries.transpose(1, 2), keys, values)
        out: Tensor = attn.to_out[0](seen.transpose(1, 2).reshape(*hidden_states.shape[:2], -1))
        return out


def with_text_memory(unet: nn.Module) -> nn.Module:
    """The network, whose layers take a `TextMemory` from now on; without one it is what it was.

    A network that attends in some other way than plainly is left alone.
    """
    layers = list(_attention(unet))
    if not all(map(_is_plain, layers)) or not _reads_the_text_itself(unet):
        return unet
    number = 0
    for layer in layers:
        layer.set_processor(Attend(number if layer.is_cross_attention else None))
        number += layer.is_cross_attention
    return unet


@torch.no_grad()
def text_memory(unet: nn.Module, states: Tensor) -> TextMemory:
    """What the network's layers remember of a text `(sample, token, width)`, on its device."""
    return tuple(
        _keys_and_values(layer, states)
        for layer in _attention(unet)
        if isinstance(layer.processor, Attend) and layer.is_cross_attention
    )


def _keys_and_values(layer: Attention, heard: Tensor) -> tuple[Tensor, Tensor]:
    """Each `(batch, head, position, channel)`."""
    keys, values = layer.to_k(heard), layer.to_v(heard)
    shape = (*heard.shape[:2], layer.heads, -1)
    return keys.view(shape).transpose(1, 2), values.view(shape).transpose(1, 2)


def _attention(unet: nn.Module) -> Iterator[Attention]:
    return (layer for layer in unet.modules() if isinstance(layer, Attention))


def _is_plain(layer: Attention) -> bool:
    """Whether queries, keys and values are projected, nothing is normed, and nothing is added."""
    norms = (layer.group_norm, layer.spatial_norm, layer.norm_q, layer.norm_k, layer.norm_cross)
    return (
        type(layer.processor) is AttnProcessor2_0
        and not any(norms)
        and not layer.residual_connection
        and layer.rescale_output_factor == 1
    )


def _reads_the_text_itself(unet: nn.Module) -> bool:
    """Whether each layer gets all of the text as it is."""
    cut = any(isinstance(module, DualTransformer2DModel) for module in unet.modules())
    return not cut and getattr(unet, "encoder_hid_proj", None) is None

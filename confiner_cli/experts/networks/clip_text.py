"""CLIP's text encoder (arXiv 2103.00020): a transformer over tokens that look back only.

Its tensors have the names that transformers' CLIPTextModel gives them, and it computes the same.
To import that takes longer than to import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

QUICK = 1.702


def quick_gelu(x: Tensor) -> Tensor:
    """OpenAI's approximation of GELU (arXiv 1606.08415)."""
    return x * torch.sigmoid(QUICK * x)


Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({"quick_gelu": quick_gelu, "gelu": gelu})
"""By what a config calls them: OpenAI's networks have the first, OpenCLIP's the second."""


@dataclass(frozen=True)
class CLIPTextConfig:
    """What decides the architecture, by transformers' names; the defaults are its own, too."""

    vocab_size: int = 49408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5


READ = tuple(each.name for each in fields(CLIPTextConfig))


class CLIPTextModel(nn.Module):
    """The encoder of a config.

    Args:
        config: its sizes; `hidden_act` is one of `ACTIVATIONS`.
    """

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The encoder of a `config.json`, of which it reads what `CLIPTextConfig` has."""
        return cls(CLIPTextConfig(**{name: config[name] for name in READ if name in config}))

    def forward(self, input_ids: Tensor, clip_skip: int = 0) -> Tensor:
        """The hidden states of texts, past the last norm.

        Args:
            input_ids: `(text, token)`.
            clip_skip: how many of the last layers they do not pass.

        Returns:
            `(text, token, hidden_size)`; without a skip, what transformers calls
            `last_hidden_state`.
        """
        states = self.encoder(self.embeddings(input_ids), clip_skip)
        normed: Tensor = self.final_layer_norm(states)
        return normed

    def make_room(self, words: int) -> None:
        """Give it vectors for this many words, if it has not as many; new ones are zeros."""
        table = self.embeddings.token_embedding.weight.detach()
        if len(table) < words:
            new = table.new_zeros(words - len(table), table.shape[1])
            self.embeddings.token_embedding.weight = nn.Parameter(torch.cat([table, new]))
            self.embeddings.token_embedding.num_embeddings = words


class Embeddings(nn.Module):
    """A vector for each token and one for each place."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        """`(text, token)` to `(text, token, width)`."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        states: Tensor = self.token_embedding(input_ids) + self.position_embedding(places)
        return states


class Encoder(nn.Module):
    """The layers, one after another."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        layers = [Layer(config) for _ in range(config.num_hidden_layers)]
        self.layers = nn.ModuleList(layers)

    def forward(self, states: Tensor, clip_skip: int) -> Tensor:
        """`(text, token, width)` to the same, without the last `clip_skip` layers."""
        for layer in list(self.layers)[: len(self.layers) - clip_skip]:
            states = layer(states)
        return states


class Layer(nn.Module):
    """Attention, then a network for each token, each of what was normed and added to it."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.layer_norm1 = nn.LayerNorm(width, eps=eps)
        self.self_attn = Attention(width, config.num_attention_heads)
        self.layer_norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(config)

    def forward(self, states: Tensor) -> Tensor:
        """`(text, token, width)` to the same."""
        states = states + self.self_attn(self.layer_norm1(states))
        deeper: Tensor = states + self.mlp(self.layer_norm2(states))
        return deeper


class Attention(nn.Module):
    """Self-attention with several heads; a token sees itself and what stands before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        """`(text, token, width)` to the same."""
        query, key, value = (
            projected(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.q_proj, self.k_proj, self.v_proj)
        )
        seen = scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return out


class MLP(nn.Module):
    """A hidden layer for each token."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        """`(text, token, width)` to the same."""
        out: Tensor = self.fc2(self.activation(self.fc1(states)))
        return out

"""What reads prompts: text encoders differ, and an expert asks each of them the same."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.embeddings import Embedding


class TextReader(Protocol):
    """A tokenizer and a text encoder that belong together."""

    @property
    def embeddings(self) -> tuple[Embedding, ...]:
        """The learnt words that it was given."""

    @property
    def takes_weights(self) -> bool:
        """Whether `prompt_weighting=true` is for it, which reads weights and long prompts."""

    def __call__(self, text: str) -> Conditioning:
        """What a network is told of a prompt, for one sample."""

    def negative(self, text: str) -> Conditioning:
        """What it is told of a negative prompt."""

    def load(self) -> None:
        """Load the encoder now. Raises ConfinerError: its weights are damaged."""

    def truncated(self, text: str) -> str:
        """The end of the text that the encoder does not read; empty where it reads all."""

    def uses(self, embedding: Embedding, text: str) -> bool:
        """Whether a learnt word is in a text."""


class TokenEncoder(Protocol):
    """What makes hidden states of tokens."""

    def __call__(self, ids: tuple[int, ...]) -> Tensor:
        """The states of one text's tokens, `(1, token, width)`, where the encoder computes."""

    def load(self) -> None:
        """Load the encoder now. Raises ConfinerError: its weights are damaged."""

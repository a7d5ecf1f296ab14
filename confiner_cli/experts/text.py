"""Prompts to hidden states: a CLIP tokenizer and a text encoder that belong together."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.embeddings import Embedding, words_of
from confiner_cli.experts.offload import Handle
from confiner_cli.experts.prompt_chunks import Chunk, Chunked, Chunking, Word, verbatim
from confiner_cli.experts.prompt_weighting import emphasized
from confiner_cli.experts.tokenizer import Tokenizer
from confiner_cli.method.transfer import onto

CLIP_LENGTH = 77
FRAME = 2
"""Of the tokens that an encoder takes, a text's start and its end."""


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer and an encoder that belong together.

    Attributes:
        tokenizer: knows the words of the embeddings, too.
        encoder: has their vectors.
        length: how many tokens it takes at once.
        embeddings: the words that it was given.
        clip_skip: how many of its last layers a prompt does not pass.
        chunking: what makes chunks of tokens of a text.
    """

    tokenizer: Tokenizer
    encoder: Handle
    length: int = CLIP_LENGTH
    embeddings: tuple[Embedding, ...] = ()
    clip_skip: int = 0
    chunking: Chunking = verbatim

    @property
    def takes_weights(self) -> bool:
        """It does: `chunking` decides what becomes of them."""
        return True

    def __call__(self, text: str) -> Conditioning:
        """A prompt's states `(1, token, width)`: as diffusers' pipelines make them, if verbatim.

        There is no mask: networks that read CLIP's text read the padding, too.
        """
        return self._encoded(text, self.clip_skip)

    def negative(self, text: str) -> Conditioning:
        """A negative prompt's states: `clip_skip` has no part in them, as in diffusers."""
        return self._encoded(text, 0)

    def load(self) -> None:
        """Load the encoder now. Raises ConfinerError: its weights are damaged."""
        self.encoder()

    def truncated(self, text: str) -> str:
        """The end of the text that the encoder does not read; empty where it reads all."""
        ids = self._chunked(text).left_out
        words = words_of(self.embeddings, self.tokenizer).values()
        hidden = {number for word in words for number in word[1:]}
        return self.tokenizer.decode(each for each in ids if each not in hidden)

    def uses(self, embedding: Embedding, text: str) -> bool:
        """Whether a learnt word is in a text."""
        number = self.tokenizer.id_of(embedding.token)
        return any(number in chunk.ids for chunk in self._chunked(text).chunks)

    def _chunked(self, text: str) -> Chunked:
        return self.chunking(text, self._tokenize, self.length - FRAME)

    def _tokenize(self, text: str) -> list[Word]:
        words = words_of(self.embeddings, self.tokenizer)
        return [words.get(number, (number,)) for number in self.tokenizer.ids(text)]

    @torch.inference_mode()
    def _encoded(self, text: str, clip_skip: int) -> Conditioning:
        chunks = self._chunked(text).chunks
        ids = torch.tensor([self._framed(chunk) for chunk in chunks])
        weights = torch.ones(ids.shape)
        for row, chunk in zip(weights, chunks, strict=True):
            row[1 : 1 + len(chunk.weights)] = torch.tensor(chunk.weights)
        with self.encoder.computing() as encoder:
            states = encoder(onto(ids, self.encoder.device), clip_skip)
        states = emphasized(states, onto(weights, states.device))
        return Conditioning(states.flatten(0, 1)[None])

    def _framed(self, chunk: Chunk) -> list[int]:
        """A chunk's tokens with its start and its end, padded."""
        start, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        padding = self.length - FRAME - len(chunk.ids)
        return [start, *chunk.ids, end, *[self.tokenizer.pad_token_id] * padding]

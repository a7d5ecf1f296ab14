"""A prompt as a text encoder gets it: chunks of as many tokens as it takes at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Word = tuple[int, ...]
"""Tokens that belong together: most often one; an embedding's vectors are several."""
Tokenize = Callable[[str], Sequence[Word]]


@dataclass(frozen=True)
class Chunk:
    """Tokens that the encoder sees at once, without its start and its end, and their weights."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Chunked:
    """The chunks of a prompt, one at least, and the tokens at its end that are in none."""

    chunks: tuple[Chunk, ...]
    left_out: tuple[int, ...] = ()


Chunking = Callable[[str, Tokenize, int], Chunked]
"""How a prompt is read: of the text, what takes it apart, and the tokens that a chunk holds."""


def verbatim(prompt: str, tokenize: Tokenize, room: int) -> Chunked:
    """A prompt as it is, in one chunk, cut where that is full, as diffusers' pipelines cut it."""
    ids = tuple(number for word in tokenize(prompt) for number in word)
    return Chunked((Chunk(ids[:room], (1.0,) * len(ids[:room])),), ids[room:])

"""Prompts as A1111 reads them: `(word:1.3)`, `[word]`, BREAK, and of any length.

A prompt is read in chunks of 75 tokens, each of which the encoder sees alone. What weighs more is
scaled after the encoder, and the mean put back (A1111's wiki: Attention/emphasis, Infinite prompt
length).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from confiner_cli.experts.prompt_chunks import Chunk, Chunked, Tokenize, Word

ROUND = 1.1
SQUARE = 1 / ROUND
COMMA_BACKTRACK = 20
"""A full chunk ends after its last comma, where that is at most so many tokens back."""
LEAST_MEAN = 1e-4
"""Of the standard deviation: what is less is rounding, and no mean to put back."""
_SYNTAX = re.compile(
    r"\\(?P<escaped>[()\[\]\\]?)"
    r"|\s*\b(?P<stop>BREAK)\b\s*"
    r"|(?P<opening>[(\[])"
    r"|:\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)"
    r"|(?P<closing>[)\]])"
    r"|(?P<text>.)",
    re.DOTALL,
)
_WEIGHT = re.compile(r"\([^()]+:\s*[+-]?\d*\.?\d+\s*\)|\bBREAK\b")
NOT_SUPPORTED = MappingProxyType({
    "<lora:...>": (
        r"<(?:lora|lyco|hypernet):[^<>]+>", "LoRAs are given with experts.<role>.loras="
    ),
    "[from:to:when]": (
        r"\[[^\[\]]*:\s*\d*\.?\d+\s*\]", "at=FRAME:TEXT changes the prompt by frame"
    ),
    "[one|other]": (r"\[[^\[\]]*\|[^\[\]]*\]", "a prompt says one thing at a time"),
    "AND": (r"\bAND\b", "BREAK parts what belongs together"),
})  # fmt: skip
"""A1111's other syntax: a pattern of each, and what to do instead."""
_OPENING = {")": "(", "]": "["}
_FACTOR = {"(": ROUND, "[": SQUARE}


@dataclass(frozen=True)
class Part:
    """A part of a prompt that has one weight; without a text it is a BREAK."""

    text: str | None
    weight: float = 1.0


def weighted_parts(prompt: str) -> list[list[Part]]:
    """A prompt's parts with their weights, in lists that begin anew at each BREAK.

    `(word)` is 1.1, `[word]` 1 / 1.1, `(word:1.3)` 1.3; brackets multiply. A bracket that is not
    closed reaches to the end, one that was never opened is text, as is one behind a backslash.
    """
    parts: list[Part] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for match in _SYNTAX.finditer(prompt):
        kind, text = match.lastgroup, match[0]
        if kind == "opening":
            opened[text].append(len(parts))
        elif kind == "weight" and opened["("]:
            _multiply(parts, opened["("].pop(), float(match["weight"]))
        elif kind == "closing" and opened[_OPENING[text]]:
            bracket = _OPENING[text]
            _multiply(parts, opened[bracket].pop(), _FACTOR[bracket])
        elif kind == "stop":
            parts.append(Part(None))
        else:
            parts.append(Part(match["escaped"] if kind == "escaped" else text))
    for bracket, starts in opened.items():
        for start in starts:
            _multiply(parts, start, _FACTOR[bracket])
    return _joined(parts)


def _multiply(parts: list[Part], start: int, factor: float) -> None:
    parts[start:] = [replace(part, weight=part.weight * factor) for part in parts[start:]]


def _joined(parts: Sequence[Part]) -> list[list[Part]]:
    """Neighbours of one weight as one part: a word is read as a whole."""
    lists: list[list[Part]] = [[]]
    for part in parts:
        last = lists[-1][-1] if lists[-1] else None
        if part.text is None:
            lists.append([])
        elif last is not None and last.text is not None and last.weight == part.weight:
            lists[-1][-1] = replace(last, text=last.text + part.text)
        else:
            lists[-1].append(part)
    return lists


def plain_text(prompt: str) -> str:
    """A prompt's words, without what says how much they weigh."""
    texts = [part.text or "" for parts in weighted_parts(prompt) for part in parts]
    return " ".join(texts)


def has_syntax(prompt: str) -> bool:
    """Whether a prompt seems to be written in this syntax: `(word:1.3)` or BREAK."""
    return _WEIGHT.search(prompt) is not None


def not_supported(prompt: str) -> Iterator[tuple[str, str]]:
    """What of A1111's syntax a prompt has that is read as words here, and what to do instead."""
    for name, (pattern, instead) in NOT_SUPPORTED.items():
        if re.search(pattern, prompt):
            yield name, instead


def weighted(prompt: str, tokenize: Tokenize, room: int) -> Chunked:
    """A prompt in as many chunks as it takes; nothing is left out.

    Args:
        prompt: in A1111's syntax.
        tokenize: takes a text apart; what belongs together stays in one chunk.
        room: tokens that a chunk holds.
    """
    comma = next(iter(tokenize(",")), ())
    chunks: list[Chunk] = []
    *closed, last = weighted_parts(prompt)
    for parts in closed:  # a BREAK ends a chunk, even an empty one
        chunks += _chunks(parts, tokenize, room, comma)
    rest = list(_chunks(last, tokenize, room, comma))
    if rest[-1].ids or not chunks:
        chunks += rest
    return Chunked(tuple(chunks))


def _chunks(parts: Sequence[Part], tokenize: Tokenize, room: int, comma: Word) -> Iterator[Chunk]:
    """The chunks of what stands between two BREAKs: one at least."""
    words: list[tuple[Word, float]] = []
    for part in parts:
        for word in tokenize(part.text or ""):
            while words and _size(words) + len(word) > room:
                end = _end(words, word, comma)
                yield _chunk(words[:end])
                words = words[end:]
            words.append((word, part.weight))
    yield _chunk(words)


def _size(words: Sequence[tuple[Word, float]]) -> int:
    return sum(len(word) for word, _ in words)


def _end(words: Sequence[tuple[Word, float]], coming: Word, comma: Word) -> int:
    """How many words a full chunk keeps: those up to its last comma, where that is near."""
    commas = [number for number, (word, _) in enumerate(words, start=1) if word == comma]
    if coming == comma or not commas or _size(words[commas[-1] - 1 :]) > COMMA_BACKTRACK:
        return len(words)
    return commas[-1]


def _chunk(words: Sequence[tuple[Word, float]]) -> Chunk:
    ids = tuple(number for word, _ in words for number in word)
    weights = tuple(weight for word, weight in words for _ in word)
    return Chunk(ids, weights)


def emphasized(states: Tensor, weights: Tensor) -> Tensor:
    """The hidden states of chunks, each token's scaled by its weight, with the mean of before.

    Args:
        states: `(chunk, token, width)`.
        weights: `(chunk, token)`; 1 changes nothing.

    Returns:
        In the shape and precision of `states`. A chunk of which all weights are 1 is as it was.
    """
    exact = states.float()
    scaled = exact * weights.to(exact)[..., None]
    before, after = (each.mean((1, 2), keepdim=True) for each in (exact, scaled))
    spread = LEAST_MEAN * exact.std((1, 2), keepdim=True)
    has_mean = (before.abs() > spread) & (after.abs() > spread)
    return (scaled * torch.where(has_mean, before / after, 1.0)).to(states.dtype)

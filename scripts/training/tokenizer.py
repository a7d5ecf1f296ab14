"""CLIP's byte-level tokenizer with whatever merges, or none: then every byte is a token."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers.pre_tokenizers import ByteLevel
from transformers.models.clip.tokenization_clip import CLIPTokenizer


def byte_level(length: int, merges: Sequence[tuple[str, str]] = ()) -> CLIPTokenizer:
    """A tokenizer that knows every byte, inside words and at their ends, and what merges make.

    Args:
        length: the most tokens of a text.
        merges: pairs of tokens that become one, the first ones first.
    """
    letters = sorted(ByteLevel.alphabet())
    ends = [letter + "</w>" for letter in letters]
    merged = [first + second for first, second in merges]
    words = dict.fromkeys((*letters, *ends, *merged, "<|startoftext|>", "<|endoftext|>"))
    vocabulary = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocabulary, list(merges), model_max_length=length)

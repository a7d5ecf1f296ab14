"""T5's tokenizer, read from a folder's tokenizer.json, run by the tokenizers library.

The file says all of it: the pieces (SentencePiece's unigrams, arXiv 1808.06226), how a text is made
ready for them, and which piece stands for what none is for. transformers' T5Tokenizer takes the
pieces and builds the rest anew; where the file says the same, so are the ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers.models import Unigram

FILE, SENTENCEPIECE = "tokenizer.json", "spiece.model"
END = "</s>"
"""What ends a text, where nothing else is stated."""


@dataclass(frozen=True, eq=False)
class T5Tokenizer:
    """Texts to numbers of tokens, and back.

    Attributes:
        backend: does it.
        eos_token_id: what ends a text. Nothing begins one.
    """

    backend: tokenizers.Tokenizer
    eos_token_id: int

    def ids(self, text: str) -> list[int]:
        """The tokens of a text, without its end, however many there are."""
        return self.backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens."""
        return self.backend.decode(list(ids), skip_special_tokens=False).strip()


def read_t5_tokenizer(folder: Path) -> T5Tokenizer:
    """The tokenizer of a folder.

    Args:
        folder: with tokenizer.json, and what is stated beside it.

    Raises:
        OSError, ValueError, TypeError, KeyError: a file is missing or damaged, or the tokenizer is
            none of T5's; or whatever else the tokenizers library raises.
    """
    if (folder / SENTENCEPIECE).is_file() and not (folder / FILE).is_file():
        raise ValueError(f"it has {SENTENCEPIECE}, which is not read, and no {FILE}")
    backend = tokenizers.Tokenizer.from_file(str(folder / FILE))
    backend.no_truncation()
    backend.no_padding()
    stated = _stated(folder)
    backend.encode_special_tokens = bool(stated.get("split_special_tokens", False))
    _check_tokens(backend, stated)
    return T5Tokenizer(backend, _end(backend, stated))


def _stated(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _check_tokens(backend: tokenizers.Tokenizer, stated: Mapping[str, Any]) -> None:
    """Refuse tokens that are stated beside the file and are not in it."""
    for number, about in stated.get("added_tokens_decoder", {}).items():
        if backend.token_to_id(about["content"]) != int(number):
            raise ValueError(
                f"tokenizer_config.json has a token {number}, {about['content']}, and {FILE} has "
                "another one or none"
            )


def _end(backend: tokenizers.Tokenizer, stated: Mapping[str, Any]) -> int:
    """The token that the file itself ends a text with, and adds no other one."""
    named = stated.get("eos_token", END)
    name = named["content"] if isinstance(named, dict) else named
    number = backend.token_to_id(name)
    is_unigram = isinstance(backend.model, Unigram)
    if number is None or not is_unigram or backend.encode("").ids != [number]:
        raise ValueError(f"its {FILE} is not one of T5's, in which {name} ends every text")
    return number

"""A tokenizer in T5's layout that knows letters: every character is a token."""

from __future__ import annotations

import json
import string
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import Metaspace as Joined
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing

SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
"""By T5's names, in the order of its ids."""
SPACE = "▁"
"""What a word begins with."""
LENGTH = 512
"""Tokens of a text."""


def write_tokenizer(folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`.

    A text ends in `</s>`; letters that are not ASCII's are `<unk>`.
    """
    letters = string.ascii_letters + string.digits + string.punctuation
    pieces = [*SPECIAL.values(), SPACE, *letters]
    made = Tokenizer(Unigram([(piece, 0.0) for piece in pieces], unk_id=2))
    made.pre_tokenizer = Metaspace(SPACE)
    made.decoder = Joined(SPACE)
    made.add_special_tokens(list(SPECIAL.values()))
    made.post_processor = TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    kind = {"extra_ids": 0, "model_max_length": LENGTH, "tokenizer_class": "T5Tokenizer"}
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**SPECIAL, **kind}, indent=2) + "\n", encoding="utf-8")

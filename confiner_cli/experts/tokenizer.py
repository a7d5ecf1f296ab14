"""CLIP's tokenizer, read from a folder as transformers saves it, run by the tokenizers library.

Its ids are those of transformers' CLIPTokenizer. To import that takes a hundred times as long.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
"""What a token ends with that ends a word."""
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Tokens with a role, in the order in which they are added."""
DEFAULTS = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
NEEDED = ("bos_token", "eos_token", "pad_token")
WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
"""CLIP's pattern of what is a word, a digit or punctuation."""
Stated = Mapping[str, Any]
Token = str | AddedToken


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Texts to numbers of tokens, and back.

    Attributes:
        backend: does it.
        bos_token_id, eos_token_id, pad_token_id: what begins a text, ends it, and fills it up.
        model_max_length: how many tokens a text may have, with its beginning and its end.
    """

    backend: tokenizers.Tokenizer
    bos_token_id: int
    eos_token_id: int
    pad_token_id: int
    model_max_length: int

    def ids(self, text: str) -> list[int]:
        """The tokens of a text, without its beginning and its end, however many there are."""
        return self.backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of tokens, in lower case, as the vocabulary has it."""
        text = self.backend.decode(list(ids), skip_special_tokens=False)
        return text.replace(WORD_END, " ").strip()

    def __contains__(self, token: str) -> bool:
        """Whether it has a token of this name."""
        return self.backend.token_to_id(token) is not None

    def id_of(self, token: str) -> int:
        """The number of a token. Raises ValueError: there is none of this name."""
        return _id_of(self.backend, token)


def read_tokenizer(folder: Path, tokens: Iterable[str] = ()) -> Tokenizer:
    """The tokenizer of a folder, which also knows these tokens.

    Args:
        folder: with tokenizer.json, or vocab.json and merges.txt, and what is stated beside them.
        tokens: learnt words; each gets the next free number.

    Raises:
        OSError, ValueError, TypeError, KeyError: a file is missing or damaged, or the tokenizer is
            none of CLIP's; or whatever else the tokenizers library raises.
    """
    stated, added = _stated(folder)
    backend = tokenizers.Tokenizer(_model(folder, str(stated["unk_token"])))
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
    backend.decoder = decoders.ByteLevel()
    backend.encode_special_tokens = bool(stated.get("split_special_tokens", False))
    backend.add_tokens(list(_special(stated, added)))
    backend.add_tokens(list(tokens))
    length = stated.get("model_max_length", stated.get("max_len")) or sys.maxsize
    start, end, padding = (_number(backend, stated, name) for name in NEEDED)
    return Tokenizer(backend, start, end, padding, int(length))


def _model(folder: Path, unknown: str) -> BPE:
    """The vocabulary and its merges, out of one file or two."""
    whole = _read(folder / "tokenizer.json")
    if not whole:
        read = BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
        vocabulary, merges = read
    else:
        model = whole["model"]
        if model.get("type", "BPE") != "BPE" or model.get("end_of_word_suffix") != WORD_END:
            raise ValueError("its tokenizer.json is not one of CLIP's")
        vocabulary, merges = model["vocab"], [_pair(merge) for merge in model["merges"]]
    return BPE(
        vocab=vocabulary,
        merges=merges,
        continuing_subword_prefix="",
        end_of_word_suffix=WORD_END,
        fuse_unk=False,
        unk_token=unknown,
    )


def _pair(merge: Any) -> tuple[str, str]:
    """Older files have `a b`, newer ones `["a", "b"]`."""
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _read(path: Path) -> dict[str, Any]:
    """A file's content; empty where there is no file."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _stated(folder: Path) -> tuple[dict[str, Any], dict[int, AddedToken]]:
    """What the files say of the tokenizer, and the tokens beside the vocabulary by number.

    Those are in tokenizer_config.json, or, in older folders, in as many as three files, and
    special_tokens_map.json comes before tokenizer_config.json.
    """
    stated = {
        name: _token(value) for name, value in _read(folder / "tokenizer_config.json").items()
    }
    if "added_tokens_decoder" in stated:
        listed = stated.pop("added_tokens_decoder").items()
        added = {int(number): AddedToken(**about) for number, about in listed}
    else:
        beside = _read(folder / "special_tokens_map.json")
        stated |= {name: _token(value, special=True) for name, value in beside.items()}
        added = dict(_added_in_older_files(folder, stated))
    by_content = {token.content: token for token in added.values()}
    for name in NAMED:
        if stated.get(name) is not None:
            stated[name] = by_content.get(str(stated[name]), stated[name])
    return {**DEFAULTS, **stated}, added


def _token(value: Any, special: bool = False) -> Any:
    """A token as it is written, if it is one, else the value as it is."""
    if isinstance(value, list):
        return [_token(each, special) for each in value]
    if not isinstance(value, dict) or "content" not in value:
        return value
    about = {key: of for key, of in value.items() if key not in ("__type", "id")}
    return AddedToken(**{**about, "special": special or about.get("special", False)})


def _added_in_older_files(folder: Path, stated: Stated) -> Iterator[tuple[int, AddedToken]]:
    special = {str(stated[name]) for name in NAMED if stated.get(name)}
    special |= {str(token) for token in _extra(stated)}
    for content, number in _read(folder / "added_tokens.json").items():
        is_special = content in special
        yield number, AddedToken(content, normalized=not is_special, special=is_special)
    for about in _read(folder / "tokenizer.json").get("added_tokens", ()):
        yield about["id"], _token(about)


def _extra(stated: Stated) -> list[Token]:
    """Tokens without a role that nothing takes apart."""
    for name in ("extra_special_tokens", "additional_special_tokens"):
        if isinstance(stated.get(name), list) and stated[name]:
            return list(stated[name])
    return []


def _special(stated: Stated, added: Mapping[int, AddedToken]) -> Iterator[AddedToken]:
    """The tokens beside the vocabulary, in their order; of equal ones the last one counts."""
    roles = list(_roles(stated))
    named = {str(token) for token in roles}
    known = {token.content for token in added.values()}
    for _, token in sorted(added.items()):
        token.special = token.special or token.content in named
        yield token
    for other in (*roles, *_extra(stated)):
        if str(other) not in known:
            yield AddedToken(other, special=True) if isinstance(other, str) else other


def _roles(stated: Stated) -> Iterator[Token]:
    """The tokens that have a role, those that other models have at the end."""
    others = [name for name in stated if name.endswith("_token") and name not in NAMED]
    for name in (*NAMED, *others):
        if isinstance(stated.get(name), Token):
            yield stated[name]


def _number(backend: tokenizers.Tokenizer, stated: Stated, name: str) -> int:
    if not isinstance(stated[name], Token):
        raise TypeError(f"its {name} is no token: {stated[name]}")
    return _id_of(backend, str(stated[name]))


def _id_of(backend: tokenizers.Tokenizer, token: str) -> int:
    number = backend.token_to_id(token)
    if number is None:
        raise ValueError(f"it has no token {token}")
    return number

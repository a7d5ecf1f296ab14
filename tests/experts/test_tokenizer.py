"""CLIP's tokenizer: the ids and texts that transformers' CLIPTokenizer gives, of every folder."""

from __future__ import annotations

import json
import pickle
import random
import shutil
from pathlib import Path

import pytest
from support.tiny_networks import spelling_tokenizer
from transformers.models.clip.tokenization_clip import CLIPTokenizer

import confiner_cli
from confiner_cli.experts.tokenizer import read_tokenizer

EMBEDDED = Path(confiner_cli.__file__).parent / "embedded" / "shared" / "tokenizer"
MERGES = [("h", "e"), ("a", "r"), ("ar", "t</w>"), ("t", "h"), ("th", "e</w>"), ("!", "!</w>")]
START, END = "<|startoftext|>", "<|endoftext|>"
PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
ROLES = {
    "bos_token": {"content": START, **PLAIN},
    "eos_token": {"content": END, **PLAIN},
    "pad_token": END,
    "unk_token": {"content": END, **PLAIN},
}
CONFIG = {
    **{name: {"__type": "AddedToken", **of} if isinstance(of, dict) else of
       for name, of in ROLES.items()},
    "add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": 77,
    "special_tokens_map_file": "./special_tokens_map.json", "tokenizer_class": "CLIPTokenizer",
}  # fmt: skip
"""As Stable Diffusion's folders have it."""


def write(folder, name, content):
    (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def two_files(folder):
    """vocab.json and merges.txt, and nothing stated."""
    folder.mkdir()
    words = sorted(spelling_tokenizer(MERGES).get_vocab().items(), key=lambda word: word[1])
    write(folder, "vocab.json", dict(words))
    lines = ["#version: 0.2", *(f"{one} {other}" for one, other in MERGES), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")


def published(folder, **changes):
    """As Stable Diffusion 1.5 has it."""
    two_files(folder)
    write(folder, "tokenizer_config.json", CONFIG | changes)
    write(folder, "special_tokens_map.json", ROLES)


def padded_with_a_word(folder):
    """As Stable Diffusion 2.1 has it: special_tokens_map.json comes first."""
    published(folder)
    write(folder, "special_tokens_map.json", ROLES | {"pad_token": "!"})


def with_added_words(folder):
    """As training of textual inversion saved it; of one word only a part is a word."""
    published(folder, additional_special_tokens=["<photo>"])
    number = len(spelling_tokenizer(MERGES))
    added = {"<photo>": number, "<Cat>": number + 1, "heart": number + 2}
    write(folder, "added_tokens.json", added)


def with_listed_words(folder):
    """As transformers 4 saved it: all in tokenizer_config.json."""
    published(folder)
    number = len(spelling_tokenizer(MERGES))
    about = [(START, number - 2, True), (END, number - 1, True), ("<cat>", number, False)]
    listed = {
        str(index): {"content": content, **PLAIN, "normalized": not special, "special": special}
        for content, index, special in about
    }
    stated = {
        "added_tokens_decoder": listed,
        "pad_token": "!",
        "clean_up_tokenization_spaces": True,
    }
    write(folder, "tokenizer_config.json", CONFIG | stated)


def in_one_file(folder):
    """As transformers 5 saves it, with a word that was added."""
    tokenizer = spelling_tokenizer(MERGES)
    tokenizer.add_tokens(["<cat>"])
    tokenizer.save_pretrained(folder)


def in_one_file_of_old(folder):
    """Merges as texts; truncated and padded by what is written in the file."""
    in_one_file(folder)
    whole = json.loads((folder / "tokenizer.json").read_text())
    whole["model"]["merges"] = [" ".join(merge) for merge in whole["model"]["merges"]]
    write(folder, "tokenizer.json", whole)


def apart(folder):
    """Special tokens that texts have in them are taken apart."""
    published(folder, split_special_tokens=True)


def embedded(folder):
    shutil.copytree(EMBEDDED, folder)


FOLDERS = (
    two_files, published, padded_with_a_word, with_added_words, with_listed_words, in_one_file,
    in_one_file_of_old, apart, embedded,
)  # fmt: skip
ALPHABETS = (
    "aehrt", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789.,",
    "!?.,;:'\"()[]{}<>|/\\_-+*&^%$#@~`", " \t\n\r\f\v\u00a0\u2003\u200b\u3000",
    "äöüßéñçøÅÆЖщяΩλ", "e\u0301a\u0308\u0327ÅﬁⅣ²", "日本語中文한국어ไทยहिन्दी",
    "\U0001f600\U0001f468\u200d\U0001f469\U0001f1e9\U0001f1ea\u2764\ufe0f\U0001f3fd", "İıſẞΣς",
)  # fmt: skip
WORDS = (
    "the heart", "don't", "it's WE'LL", START, END, "<|STARTOFTEXT|>", "<|endoftext|>s", "<photo>",
    "<cat>", "<Cat>", "a!", "!!", "!", "</w>", "<|", "1234", "a red heart rising over the sea",
)  # fmt: skip


def texts(count, seed=0):
    """Random texts: mixtures of scripts, spaces, emoji, special tokens; some very long."""
    draw = random.Random(seed)
    yield from ("", " ", *WORDS)
    for _ in range(count):
        parts = []
        for _ in range(draw.choice((1, 2, 3, 5, 8, 60))):
            alphabet = draw.choice(ALPHABETS)
            letters = "".join(draw.choices(alphabet, k=draw.randrange(1, 9)))
            parts.append(draw.choice((letters, letters, draw.choice(WORDS))))
        yield draw.choice(("", " ")).join(parts)


def pair(make, folder, tokens=()):
    make(folder)
    theirs = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    theirs.add_tokens(list(tokens))
    return theirs, read_tokenizer(folder, tokens)


def compare(make, folder, count, tokens=()):
    theirs, ours = pair(make, folder, tokens)
    for text in texts(count):
        expected = theirs(text, add_special_tokens=False, verbose=False).input_ids
        assert ours.ids(text) == expected, text
        assert ours.decode(expected) == str(theirs.decode(expected)).strip(), text
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "model_max_length")
    found, expected = ([getattr(each, name) for name in names] for each in (ours, theirs))
    assert found[:3] == expected[:3]
    assert min(found[3], 10**9) == min(expected[3], 10**9)


@pytest.mark.parametrize("make", FOLDERS)
def test_ids_and_texts_are_those_of_transformers(make, tmp_path):
    compare(make, tmp_path / "tokenizer", 40)


@pytest.mark.thorough
@pytest.mark.parametrize("make", FOLDERS)
def test_ids_and_texts_are_those_of_transformers_for_thousands_of_texts(make, tmp_path):
    compare(make, tmp_path / "tokenizer", 1500)
    learnt = ("<heart>", "bad-dream", "bad-dream_1", "Ünï")
    compare(make, tmp_path / "learnt", 500, learnt)


def test_learnt_words_get_the_next_numbers(tmp_path):
    theirs, ours = pair(published, tmp_path / "tokenizer", ("<heart>", "bad-dream"))
    count = len(spelling_tokenizer(MERGES))
    assert (ours.id_of("<heart>"), ours.id_of("bad-dream")) == (count, count + 1)
    assert ours.ids("a <heart>, bad-dream") == theirs("a <heart>, bad-dream").input_ids[1:-1]
    assert "<heart>" in ours and "<star>" not in ours


def test_it_can_be_handed_to_another_process():
    ours = read_tokenizer(EMBEDDED, ["<heart>"])
    copy = pickle.loads(pickle.dumps(ours))
    assert copy.ids("a <heart> b") == ours.ids("a <heart> b")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "tokenizer.json",
            {"model": {"type": "Unigram", "vocab": [["a", 0.0]]}},
            "not one of CLIP",
        ),
        (
            "tokenizer.json",
            {"model": {"type": "BPE", "vocab": {}, "merges": []}},
            "not one of CLIP",
        ),
        ("special_tokens_map.json", {"pad_token": None}, "pad_token is no token: None"),
        ("special_tokens_map.json", {"bos_token": {}}, "bos_token is no token"),
        ("tokenizer_config.json", [1, 2], None),
    ],
)
def test_what_is_no_tokenizer_of_clip_is_refused(name, content, message, tmp_path):
    published(tmp_path / "tokenizer")
    write(tmp_path / "tokenizer", name, content)
    with pytest.raises((ValueError, TypeError), match=message):
        read_tokenizer(tmp_path / "tokenizer")

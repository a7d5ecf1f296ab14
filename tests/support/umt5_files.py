"""A UMT5 as Wan's folders have it, with random weights: its tokenizer and its text encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import Unigram
from tokenizers.processors import TemplateProcessing
from transformers.models.umt5.configuration_umt5 import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

from confiner_cli.experts.components import Components
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.text_loading import PLAIN, Reading, text_encoder
from confiner_cli.experts.umt5_text import UMT5Text

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
LETTERS = "aehrtsinoldgbcu.,é火"
WORDS = ("▁a", "▁the", "▁heart", "art", "er", "&")
PIECES = [
    *((name, 0.0) for name in (PAD, END, UNKNOWN)),
    ("▁", -2.0),
    *((word, -3.0) for word in WORDS),
    *((letter, -5.0) for letter in LETTERS),
]
WIDTH = 32


def write(folder: Path, width: int = WIDTH, seed: int = 0) -> Path:
    """Write `folder/tokenizer` and `folder/text_encoder`; return the folder."""
    write_tokenizer(folder / "tokenizer")
    network(width, seed).save_pretrained(folder / "text_encoder")
    return folder


def write_tokenizer(folder: Path) -> Path:
    """A tokenizer.json of `PIECES`, and what is stated beside it, as transformers 4 saved it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(Unigram(PIECES, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in (PAD, END, UNKNOWN)])
    tokenizer.post_processor = TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 1)])
    tokenizer.enable_truncation(512)
    tokenizer.save(str(folder / "tokenizer.json"))
    listed = {
        str(number): {"content": name, "special": True}
        for number, name in enumerate((PAD, END, UNKNOWN))
    }
    stated: dict[str, Any] = {
        "added_tokens_decoder": listed, "eos_token": END, "extra_ids": 0, "pad_token": PAD,
        "model_max_length": 512, "tokenizer_class": "T5Tokenizer", "unk_token": UNKNOWN,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), encoding="utf-8")
    return folder


def network(width: int = WIDTH, seed: int = 0) -> UMT5EncoderModel:
    """Two layers."""
    torch.manual_seed(seed)
    config = UMT5Config(
        vocab_size=len(PIECES),
        d_model=width,
        d_kv=8,
        d_ff=2 * width,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=16,
        initializer_factor=1.0,
    )
    return UMT5EncoderModel(config).eval()


def reader(folder: Path, dtype: torch.dtype = torch.float32, reading: Reading = PLAIN) -> UMT5Text:
    """The temporal expert's, in a process that begins."""
    components = Components("temporal", (folder,), torch.device("cpu"), dtype)
    return text_encoder(components, POLICIES["high"], NetworkCache(), reading)

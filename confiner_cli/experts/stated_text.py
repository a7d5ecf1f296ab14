"""What a text encoder's config says, held against what ours does: nothing it says is passed over.

A field is read, or is known to change nothing (`harmless`), or stops the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.networks import umt5_config
from confiner_cli.experts.networks.clip_text import ACTIVATIONS, READ

CLIP, UMT5 = "clip_text_model", "umt5"
"""Kinds of text encoders, as configs call them: `model_type`."""
HARMLESS = frozenset({
    # Of training, and of how it was saved.
    "_name_or_path", "architectures", "bos_token_id", "dtype", "eos_token_id", "initializer_factor",
    "initializer_range", "model_type", "pad_token_id", "tokenizer_class", "torch_dtype",
    "transformers_version",
    # What older versions of transformers wrote beside it, of generating texts and of other tasks.
    "begin_suppress_tokens", "diversity_penalty", "id2label", "label2id", "length_penalty",
    "max_length", "num_beam_groups", "num_beams", "num_return_sequences", "output_attentions",
    "output_hidden_states", "repetition_penalty", "return_dict", "temperature",
    "tie_word_embeddings", "top_k", "top_p", "typical_p", "use_cache",
})  # fmt: skip
OF_CLIP = frozenset({"attention_dropout", "dropout", "projection_dim"})
"""Of training, and of what is pooled of a text."""
OF_UMT5 = frozenset({
    # Of training, and of the decoder, which its encoder alone has not.
    "classifier_dropout", "decoder_start_token_id", "dropout_rate", "is_encoder_decoder",
    "num_decoder_layers", "output_past",
    # Of the program that it was trained with; transformers knows no such thing.
    "scalable_attention",
})  # fmt: skip


@dataclass(frozen=True)
class TextKind:
    """A kind of text encoder.

    Attributes:
        name: for messages, with who has it.
        read: fields of its configs that decide what it computes.
        harmless: those that change nothing of that.
        width: the one that says how wide its states are.
    """

    name: str
    read: tuple[str, ...]
    harmless: frozenset[str]
    width: str


KINDS = MappingProxyType({
    CLIP: TextKind(
        "CLIP text encoder, as Stable Diffusion has it", READ, HARMLESS | OF_CLIP, "hidden_size"
    ),
    UMT5: TextKind(
        "UMT5 text encoder, as Wan has it", umt5_config.READ, HARMLESS | OF_UMT5, "d_model"
    ),
})  # fmt: skip


def kind_of(config: Mapping[str, Any]) -> str:
    """What a text encoder's config says that it is; CLIP's where it says nothing."""
    return str(config.get("model_type", CLIP))


def states_width(config: Mapping[str, Any]) -> int | None:
    """How wide the states of an encoder of `KINDS` are; None where its config does not say it."""
    width: int | None = config.get(KINDS[kind_of(config)].width)
    return width


def check_text_encoder(config: Mapping[str, Any], role: str, place: Path) -> None:
    """Refuse a text encoder of none of `KINDS`, or one that has something that ours has not.

    Args:
        config: of its config.json.
        role: whose it is, for messages.
        place: where it lies, for messages.

    Raises:
        ConfinerError: its config says so.
    """
    for name in _not_honoured(config):
        raise ConfinerError(
            f"the {role} expert's text encoder in {place} states {name}={config[name]}, which is "
            "not honoured",
            f"experts.{role}.shared= names a place with a {_wanted(kind_of(config))}",
        )


def _wanted(kind: str) -> str:
    """What to have instead, in words: another one of the kind, or one of any that is known."""
    if kind in KINDS:
        return KINDS[kind].name
    return " or a ".join(each.name for each in KINDS.values())


def _not_honoured(config: Mapping[str, Any]) -> Iterator[str]:
    if kind_of(config) not in KINDS:
        yield "model_type"
        return
    kind = KINDS[kind_of(config)]
    if kind_of(config) == CLIP and config.get("hidden_act", "gelu") not in ACTIVATIONS:
        yield "hidden_act"
    known = {*kind.read, *kind.harmless}
    yield from (name for name, value in config.items() if value and name not in known)

"""What a text encoder's config says, held against what ours does: nothing it says is passed over.

A field is read, or is known to change nothing (`HARMLESS`), or stops the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.networks.clip_text import ACTIVATIONS, READ

KIND = "clip_text_model"
HARMLESS = frozenset({
    # Of training, of what is pooled of a text, and of how it was saved.
    "_name_or_path", "architectures", "attention_dropout", "bos_token_id", "dropout", "dtype",
    "eos_token_id", "initializer_factor", "initializer_range", "model_type", "pad_token_id",
    "projection_dim", "tokenizer_class", "torch_dtype", "transformers_version",
    # What older versions of transformers wrote beside it, of generating texts and of other tasks.
    "begin_suppress_tokens", "diversity_penalty", "id2label", "label2id", "length_penalty",
    "max_length", "num_beam_groups", "num_beams", "num_return_sequences", "output_attentions",
    "output_hidden_states", "repetition_penalty", "return_dict", "temperature",
    "tie_word_embeddings", "top_k", "top_p", "typical_p", "use_cache",
})  # fmt: skip


def check_text_encoder(config: Mapping[str, Any], role: str, place: Path) -> None:
    """Refuse a text encoder that is not CLIP's, or has something that ours has not.

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
            f"experts.{role}.shared= names a place with a CLIP text encoder, as Stable Diffusion "
            "has it",
        )


def _not_honoured(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("model_type", KIND) != KIND:
        yield "model_type"
    if config.get("hidden_act", "gelu") not in ACTIVATIONS:
        yield "hidden_act"
    known = {*READ, *HARMLESS}
    yield from (name for name, value in config.items() if value and name not in known)

"""Text encoders from disk, with the words that they are given; loaded when first called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from confiner_cli.errors import ConfinerError, is_ram_full, no_ram_for
from confiner_cli.experts.adapted import adapted
from confiner_cli.experts.components import Components
from confiner_cli.experts.embeddings import (
    Embedding,
    add_vectors,
    check_embeddings,
    embedding_file,
    read_embedding,
    words_of,
)
from confiner_cli.experts.lora_names import TEXT
from confiner_cli.experts.networks.clip_text import CLIPTextModel
from confiner_cli.experts.offload import Handle, NetworkCache, OffloadPolicy
from confiner_cli.experts.prompt_chunks import Chunking, Word, verbatim
from confiner_cli.experts.stated_text import UMT5, kind_of
from confiner_cli.experts.text import CLIP_LENGTH, FRAME, TextEncoder
from confiner_cli.experts.text_reader import TextReader
from confiner_cli.experts.tokenizer import Tokenizer, read_tokenizer
from confiner_cli.experts.umt5_loading import umt5_text
from confiner_cli.weights.identity import content_hash


@dataclass(frozen=True)
class Reading:
    """How an expert reads its prompts, beside the tokenizer and the encoder that it has.

    Attributes:
        embeddings: the words that it is given, each with its file or folder.
        clip_skip: as `ExpertSpec` has it.
        chunking: what makes chunks of tokens of a prompt.
    """

    embeddings: tuple[tuple[str, Path], ...] = ()
    clip_skip: int = 0
    chunking: Chunking = verbatim


PLAIN = Reading()


def text_encoder(
    components: Components, policy: OffloadPolicy, cache: NetworkCache, reading: Reading = PLAIN
) -> TextReader:
    """The tokenizer, and the encoder, which is loaded when it is first called.

    Encoders of equal files are one network. It is CLIP's, or UMT5's where its config says so.

    Raises:
        ConfinerError: there is none, the tokenizer or an embedding is damaged, an embedding was
            made for another encoder, there are fewer layers than are to be skipped, or UMT5 is to
            do what only CLIP can.
    """
    config = components.config("text_encoder")
    if kind_of(config) == UMT5:
        _check_plain(components.role, reading)
        return umt5_text(components, policy, cache)
    return _clip_text(config, components, policy, cache, reading)


def _check_plain(role: str, reading: Reading) -> None:
    """Refuse what is done with prompts for CLIP alone."""
    asked = {
        f"experts.{role}.embeddings": reading.embeddings,
        f"experts.{role}.clip_skip": reading.clip_skip,
        "prompt_weighting": reading.chunking is not verbatim,
    }
    for setting in (name for name, value in asked.items() if value):
        raise ConfinerError(
            f"{setting} is for CLIP text encoders, and that of the {role} expert is UMT5",
            f"leave out {setting}=, or give the role an expert with a CLIP text encoder",
        )


def _clip_text(
    config: Mapping[str, Any],
    components: Components,
    policy: OffloadPolicy,
    cache: NetworkCache,
    reading: Reading,
) -> TextEncoder:
    _check_layers(components.role, config, reading.clip_skip)
    plain = remembered_tokenizer(components, cache, tokens=())
    length = min(plain.model_max_length, config.get("max_position_embeddings", CLIP_LENGTH))
    embeddings = tuple(
        read_embedding(token, embedding_file(place), components.role, config["hidden_size"])
        for token, place in reading.embeddings
    )
    check_embeddings(embeddings, plain, length - FRAME)
    tokens = tuple(token for embedding in embeddings for token in embedding.tokens)
    tokenizer = remembered_tokenizer(components, cache, tokens)
    return TextEncoder(
        tokenizer,
        _encoder(components, policy, cache, embeddings, tokenizer),
        length,
        embeddings,
        reading.clip_skip,
        reading.chunking,
    )


def _check_layers(role: str, config: Mapping[str, Any], clip_skip: int) -> None:
    layers = config.get("num_hidden_layers", 0)
    if clip_skip > layers:
        raise ConfinerError(
            f"experts.{role}.clip_skip={clip_skip} is more than its text encoder has layers: "
            f"{layers}",
            f"experts.{role}.clip_skip=1 is what others call clip skip 2",
        )


def remembered_tokenizer(
    components: Components, cache: NetworkCache, tokens: tuple[str, ...]
) -> Tokenizer:
    """An expert's tokenizer, which also knows these tokens; a cache makes it once.

    Raises:
        ConfinerError: there is none, it is damaged, or there is not enough memory.
    """
    folder = components.folder("tokenizer")
    try:
        key = ("tokenizer", *map(content_hash, components.sources("tokenizer")), tokens)
        return cache.remember(key, partial(read_tokenizer, folder, tokens))
    except Exception as error:  # the tokenizers library raises bare exceptions
        if is_ram_full(error):
            raise no_ram_for(f"the {components.role} tokenizer") from error
        raise ConfinerError(
            f"the {components.role} tokenizer in {folder} cannot be loaded: {error}",
            "the folder needs a CLIP tokenizer's tokenizer.json, or vocab.json and merges.txt",
        ) from error


def _encoder(
    components: Components,
    policy: OffloadPolicy,
    cache: NetworkCache,
    embeddings: tuple[Embedding, ...],
    tokenizer: Tokenizer,
) -> Handle:
    files = (*components.sources("text_encoder"), *(embedding.path for embedding in embeddings))
    words = tuple(words_of(embeddings, tokenizer).values())
    tokens = tuple(embedding.token for embedding in embeddings)
    key = ("text", components.identity(files), tokens, words)
    vectors = tuple(embedding.vectors for embedding in embeddings)
    load = partial(_load, components, words, vectors)
    return Handle(key, "text", components.device, policy, cache, load)


def _load(
    components: Components, words: tuple[Word, ...], vectors: tuple[Tensor, ...]
) -> torch.nn.Module:
    encoder = adapted(components.model("text_encoder", CLIPTextModel), TEXT, components.loras)
    return add_vectors(encoder, list(zip(words, vectors, strict=True)))

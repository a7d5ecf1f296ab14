"""UMT5 and its tokenizer from disk; the network is loaded for prompts that were never read before.

transformers, which has the network, is imported with it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from confiner_cli.errors import ConfinerError, is_ram_full, no_ram_for
from confiner_cli.experts.components import Components
from confiner_cli.experts.offload import QUICK, Handle, NetworkCache, OffloadPolicy
from confiner_cli.experts.prompt_states import PromptStates
from confiner_cli.experts.t5_tokenizer import T5Tokenizer, read_t5_tokenizer
from confiner_cli.experts.text_reader import TokenEncoder
from confiner_cli.experts.umt5_text import UMT5Encoder, UMT5Text
from confiner_cli.files import own_cache
from confiner_cli.weights.identity import content_hash

PROMPTS = "prompts"
"""What the folder of known prompts is called."""
COMPUTED_BY = ("torch", "transformers")
"""Packages of which another version may round in another way."""


def umt5_text(components: Components, policy: OffloadPolicy, cache: NetworkCache) -> UMT5Text:
    """The tokenizer, and the encoder, which is loaded when it is first asked for a new prompt.

    Encoders of equal files are one network, whatever adapters their experts have.

    Raises:
        ConfinerError: there is none, or the tokenizer is damaged.
    """
    large = sum(file.stat().st_size for file in components.files("text_encoder")) >= QUICK
    plain = replace(components, loras=())
    if large and policy.text_in_ram:
        plain = _on_cpu(plain)
    identity = plain.identity(plain.sources("text_encoder"))
    key: Hashable = ("text", identity)
    network = Handle(key, "text", plain.device, policy, cache, partial(_load, plain))
    encoder: TokenEncoder = UMT5Encoder(network)
    if large:
        encoder = _keeping(encoder, network)
    return UMT5Text(_remembered_tokenizer(components, cache), encoder, components.device)


def _on_cpu(components: Components) -> Components:
    """The same on the CPU, which computes 16 bits in bfloat16."""
    half = components.dtype.itemsize < torch.float32.itemsize
    dtype = torch.bfloat16 if half else components.dtype
    return replace(components, device=torch.device("cpu"), dtype=dtype)


def _load(components: Components) -> torch.nn.Module:
    from confiner_cli.experts.networks.umt5 import UMT5TextModel  # seconds, for new prompts alone

    return components.model("text_encoder", UMT5TextModel)


def _keeping(encoder: TokenEncoder, network: Handle) -> TokenEncoder:
    """The encoder, which keeps its answers on disk if there is a place."""
    try:
        folder = own_cache(PROMPTS)
    except RuntimeError:  # no home
        return encoder
    identity = network.key, *map(version, COMPUTED_BY)
    return PromptStates(encoder, identity, network.device, folder)


def _remembered_tokenizer(components: Components, cache: NetworkCache) -> T5Tokenizer:
    """An expert's tokenizer; a cache makes it once."""
    folder = components.folder("tokenizer")
    try:
        key = ("t5_tokenizer", *map(content_hash, components.sources("tokenizer")))
        return cache.remember(key, partial(read_t5_tokenizer, folder))
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise _no_tokenizer(components.role, folder, error) from error


def _no_tokenizer(role: str, folder: Path, error: Exception) -> ConfinerError:
    if is_ram_full(error):
        return no_ram_for(f"the {role} tokenizer")
    return ConfinerError(
        f"the {role} tokenizer in {folder} cannot be loaded: {error}",
        "the folder needs a T5 tokenizer's tokenizer.json; transformers' AutoTokenizer makes one "
        "of spiece.model with save_pretrained",
    )

"""Prompts to hidden states: CLIP's tokenizer and text encoder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.components import Components
from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.lora import adapt_text
from confiner_cli.experts.offload import Handle, NetworkCache, OffloadPolicy

CLIP_LENGTH = 77


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer and an encoder that belong together, and how many tokens it takes."""

    tokenizer: CLIPTokenizer
    encoder: Handle
    length: int = CLIP_LENGTH

    @torch.inference_mode()
    def __call__(self, text: str) -> Conditioning:
        """A prompt's states `(1, token, width)`, padded and cut as diffusers' pipelines do.

        There is no mask: networks that read CLIP's text read the padding, too.
        """
        with self.encoder.computing() as encoder:
            ids = self.tokenizer(
                text,
                padding="max_length",
                max_length=self.length,
                truncation=True,
                return_tensors="pt",
            )
            encoded = encoder(ids.input_ids.to(self.encoder.device))
        return Conditioning(encoded.last_hidden_state)

    def load(self) -> None:
        """Load the encoder now. Raises ConfinerError: its weights are damaged."""
        self.encoder()

    def truncated(self, text: str) -> str:
        """The end of the text that the encoder does not read; empty where it reads all."""
        room = self.length - 2  # its start and its end are tokens, too
        with self.encoder.cache.lock:  # a tokenizer keeps how it was called last
            # Quietly: that it is too long for the encoder is what is asked here.
            ids = self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return str(self.tokenizer.decode(ids[room:])).strip()


def text_encoder(components: Components, policy: OffloadPolicy, cache: NetworkCache) -> TextEncoder:
    """The tokenizer, and the encoder, which is loaded when it is first called.

    Encoders of equal files are one network.

    Raises:
        ConfinerError: there is none, or the tokenizer is damaged.
    """
    folder = components.folder("tokenizer")
    try:
        key = ("tokenizer", folder, folder.stat().st_mtime_ns)
        tokenizer = cache.remember(key, partial(_tokenizer, folder))
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise ConfinerError(
            f"the {components.role} tokenizer in {folder} cannot be loaded: {error}",
            "the folder needs a CLIP tokenizer's tokenizer.json, or vocab.json and merges.txt",
        ) from error
    positions = components.config("text_encoder").get("max_position_embeddings", CLIP_LENGTH)
    length = min(tokenizer.model_max_length, positions)
    return TextEncoder(tokenizer, _encoder(components, policy, cache), length)


def _encoder(components: Components, policy: OffloadPolicy, cache: NetworkCache) -> Handle:
    device, content = components.device, cache.fingerprints(components.files("text_encoder"))
    key = ("text", content, device, components.dtype, components.loras)
    return Handle(key, "text", device, policy, cache, partial(_load, components))


def _tokenizer(folder: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _load(components: Components) -> torch.nn.Module:
    return adapt_text(components.model("text_encoder", CLIPTextModel), components.loras)

"""Prompts to hidden states: CLIP's tokenizer and text encoder."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.components import Parts
from confiner_cli.experts.lora import adapt_text
from confiner_cli.experts.offload import Handle, Memory
from confiner_cli.files import fingerprint

CLIP_LENGTH = 77


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer and an encoder that belong together, and how many tokens it takes."""

    tokenizer: CLIPTokenizer
    encoder: Handle
    length: int = CLIP_LENGTH

    @torch.inference_mode()
    def __call__(self, text: str) -> Tensor:
        """Hidden states `(1, token, width)`, padded and cut to the tokenizer's length as diffusers' pipelines do."""
        ids = self.tokenizer(
            text, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        states: Tensor = self.encoder()(ids.input_ids.to(self.encoder.device)).last_hidden_state
        return states

    def unread(self, text: str) -> str:
        """The end of the text that does not fit into the encoder and will be ignored; empty where all fits."""
        room = self.length - 2
        ids = self.tokenizer(text, add_special_tokens=False).input_ids
        return str(self.tokenizer.decode(ids[room:])).strip()


def text_encoder(parts: Parts, memory: Memory) -> TextEncoder:
    """The tokenizer, and the encoder, which is loaded when it is first called; equal files are loaded once."""
    folder = parts.folder("tokenizer")
    try:
        tokenizer = _tokenizer(folder, folder.stat().st_mtime_ns)
    except Exception as error:  # the tokenizers library raises bare exceptions
        raise ConfinerError(
            f"the {parts.role} tokenizer in {folder} cannot be loaded: {error}",
            "the folder needs a CLIP tokenizer's tokenizer.json, or vocab.json and merges.txt",
        ) from error
    key = ("text", fingerprint(parts.files("text_encoder")), parts.device, parts.dtype, parts.loras)
    encoder = Handle(key, "text", parts.device, memory, partial(_load, parts))
    positions = parts.config("text_encoder").get("max_position_embeddings", CLIP_LENGTH)
    return TextEncoder(tokenizer, encoder, min(tokenizer.model_max_length, positions))


@functools.lru_cache
def _tokenizer(folder: Path, changed: int) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _load(parts: Parts) -> torch.nn.Module:
    return adapt_text(parts.model("text_encoder", CLIPTextModel), parts.loras)

"""Hidden states of prompts, kept on disk: a large text encoder is loaded for new prompts alone.

A text is known by a hash of its tokens and of all that decides their states. Neither the prompt nor
its tokens are written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.text_reader import TokenEncoder
from confiner_cli.weights.tensors import SUFFIX, read_tensors, save_tensors

STATES = "states"
LIMIT = 2**30
"""Bytes that are kept. A token of Wan's takes 8 KB in bf16, so it is a thousand long prompts."""


@dataclass(frozen=True)
class PromptStates:
    """A token encoder that asks another one for what it does not find on disk.

    Several processes may share a folder. Where it cannot be written to, or an entry is damaged, the
    other encoder is asked again.

    Attributes:
        encoder: the other one.
        identity: all that decides what it says, to the last bit; its `repr` is the same in every
            process.
        device: where it computes, and where states are put that are found.
        folder: where they are kept, a safetensors file a text.
        limit: bytes that all files may have; where they have more, those go first whose last use is
            longest ago.
    """

    encoder: TokenEncoder
    identity: Hashable
    device: torch.device
    folder: Path
    limit: int = LIMIT

    def __call__(self, ids: tuple[int, ...]) -> Tensor:
        """The states of one text's tokens, `(1, token, width)`."""
        entry = self._entry(ids)
        states = _found(entry, len(ids), self.device)
        if states is None:
            states = self.encoder(ids)
            with suppress(OSError, SafetensorError):  # no room for it: it is made again next time
                _keep(entry, states)
                _let_go_of_the_oldest(self.folder, self.limit)
        return states

    def load(self) -> None:
        """Load the encoder now. Raises ConfinerError: its weights are damaged."""
        self.encoder.load()

    def _entry(self, ids: tuple[int, ...]) -> Path:
        said = repr((self.identity, ids))
        return self.folder / f"{hashlib.sha256(said.encode()).hexdigest()}{SUFFIX}"


def _found(entry: Path, tokens: int, device: torch.device) -> Tensor | None:
    """The states of so many tokens; None where there are none, or they are damaged."""
    with suppress(OSError, ConfinerError):
        states = read_tensors(entry, device).get(STATES) if entry.exists() else None
        if states is not None and states.ndim == 3 and states.shape[:2] == (1, tokens):
            with suppress(OSError):
                os.utime(entry)  # used now: others go first
            return states
    return None


def _keep(entry: Path, states: Tensor) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    save_tensors({STATES: states.cpu().contiguous()}, entry)


def _let_go_of_the_oldest(folder: Path, limit: int) -> None:
    """Remove entries until they have no more than so many bytes, the longest unused first."""
    entries = sorted(_entries(folder))
    size = sum(bytes_ for _, bytes_, _ in entries)
    for _, bytes_, path in entries:
        if size <= limit:
            return
        path.unlink(missing_ok=True)
        size -= bytes_


def _entries(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """When each entry was last used, its bytes, its path."""
    for path in folder.glob(f"[0-9a-f]*{SUFFIX}"):
        with suppress(FileNotFoundError):  # another process has removed it
            facts = path.stat()
            yield facts.st_mtime_ns, facts.st_size, path

"""Textual inversion (arXiv 2208.01618): words that were learnt as vectors of a text encoder.

The files are diffusers' (`learned_embeds.bin` or `.safetensors`), A1111's (`.pt`), kohya's
(`emb_params`) and SDXL's, of whose two tables that of its CLIP-L is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.networks.clip_text import CLIPTextModel
from confiner_cli.experts.tokenizer import Tokenizer
from confiner_cli.weights.tensors import read_content

LEARNED = ("learned_embeds.safetensors", "learned_embeds.bin")
"""What diffusers calls the file in a folder."""
A1111 = "string_to_param"
SDXL = ("clip_l", "text_encoders_0")
"""Under which names a file for SDXL has the vectors of its CLIP-L, which is Stable Diffusion's."""
Words = Mapping[int, tuple[int, ...]]
"""Of an embedding with several vectors: the tokens that its first one stands for."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """A learnt word.

    Attributes:
        token: the word as prompts have it.
        path: the file that it comes from.
        vectors: `(vector, width)`.
        remark: what a person should know of it; "" where there is nothing.
    """

    token: str
    path: Path
    vectors: Tensor
    remark: str = ""

    @property
    def tokens(self) -> list[str]:
        """What the tokenizer calls its vectors, as diffusers has it: `<x>`, `<x>_1`, ..."""
        return [self.token, *(f"{self.token}_{n}" for n in range(1, len(self.vectors)))]


def embedding_file(place: Path) -> Path:
    """The file of an embedding, or of the folder that diffusers has saved it in.

    Raises:
        ConfinerError: the folder has none.
    """
    if place.is_file():
        return place
    for name in LEARNED:
        if (place / name).is_file():
            return place / name
    raise ConfinerError(f"{place} has no {' or '.join(LEARNED)}", "name the embedding's file")


def read_embedding(token: str, path: Path, role: str, width: int) -> Embedding:
    """The learnt word of a file, for a text encoder. A pickle is read with `weights_only`.

    Args:
        token: the word as prompts have it; of a file with several, it says which.
        path: the file.
        role: whose encoder it is for, for messages.
        width: of the encoder's hidden states.

    Raises:
        ConfinerError: the file is damaged, is no embedding, or was made for another encoder.
    """
    content = read_content(path)
    vectors = _vectors(content, token)
    if vectors is None:
        raise ConfinerError(
            f"{path} is no embedding{_listed(content)}",
            "name a file of textual inversion: one word's vectors, such as learned_embeds.bin",
        )
    if vectors.shape[1] != width:
        raise ConfinerError(
            f"the embedding {path} has vectors of width {vectors.shape[1]}, and the {role} "
            f"expert's text encoder has {width}",
            "use one that was trained on this expert's base model, or give it to another role",
        )
    if not vectors.isfinite().all():
        raise ConfinerError(f"the embedding {path} has NaN or infinity in it", "use another file")
    return Embedding(token, path, vectors, _remark(content, path))


def _vectors(content: Any, token: str) -> Tensor | None:
    """`(vector, width)` in float32; None where there is no one table of vectors."""
    table = _table(content, token)
    if not isinstance(table, Tensor) or not table.is_floating_point() or not table.numel():
        return None
    if table.ndim == 1:
        table = table[None]
    return table.detach().float() if table.ndim == 2 else None


def _table(content: Any, token: str) -> Any:
    if not isinstance(content, dict):
        return content
    if A1111 in content:
        params = content[A1111]  # a ParameterDict in old files
        content = getattr(params, "_parameters", params)
    for name in (token, *SDXL):
        if name in content:
            return content[name]
    return next(iter(content.values())) if len(content) == 1 else None


def _listed(content: Any) -> str:
    names = list(content) if isinstance(content, dict) else []
    shown = ", ".join(map(str, names[:3]))
    return f": it has {shown}{' and more' if len(names) > 3 else ''}" if names else ""


def _remark(content: Any, path: Path) -> str:
    if isinstance(content, dict) and any(name in content for name in SDXL):
        return f"{path.name} was made for SDXL: only its vectors for CLIP-L are used"
    return ""


def check_embeddings(embeddings: Sequence[Embedding], tokenizer: Tokenizer, room: int) -> None:
    """Hold learnt words against those that a tokenizer has already, and against its room.

    Args:
        embeddings: in any order.
        tokenizer: as it was published.
        room: how many tokens a text may have.

    Raises:
        ConfinerError: a word that there is already, or one of more vectors than a text may have.
    """
    earlier: set[str] = set()
    for embedding in embeddings:
        taken = [each for each in embedding.tokens if each in earlier or each in tokenizer]
        if taken:
            raise ConfinerError(
                f"the embedding {embedding.path} cannot be called {embedding.token}: there is a "
                f"token {taken[0]} already",
                f"give it another name, such as token:<{embedding.token.strip('<>')}-1>",
            )
        if len(embedding.vectors) > room:
            raise ConfinerError(
                f"the embedding {embedding.path} has {len(embedding.vectors)} vectors, and a text "
                f"{room} tokens",
                "use one with fewer vectors",
            )
        earlier.update(embedding.tokens)


def words_of(embeddings: Sequence[Embedding], tokenizer: Tokenizer) -> dict[int, tuple[int, ...]]:
    """The tokens that each learnt word stands for, in a tokenizer that knows them."""
    numbers = [tuple(map(tokenizer.id_of, each.tokens)) for each in embeddings]
    return {ids[0]: ids for ids in numbers}


def add_vectors(
    encoder: CLIPTextModel, embeddings: Sequence[tuple[Sequence[int], Tensor]]
) -> CLIPTextModel:
    """The encoder, changed in place: it has these vectors, too.

    Args:
        encoder: is given more rows where it needs them.
        embeddings: tokens and their vectors `(vector, width)`.
    """
    for ids, vectors in embeddings:
        encoder.make_room(max(ids) + 1)
        table = encoder.embeddings.token_embedding.weight
        table.data[list(ids)] = vectors.to(table)
    return encoder.requires_grad_(False)

"""Which files an expert is made of, each with its hash: what a record of a run keeps of weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from confiner_cli.experts.components import Components
from confiner_cli.experts.embeddings import embedding_file
from confiner_cli.experts.families import family_named
from confiner_cli.experts.loading import components_of, places
from confiner_cli.experts.lora_file import files_of_lora
from confiner_cli.experts.preview import PREVIEW
from confiner_cli.experts.spec import ExpertSpec
from confiner_cli.weights.identity import content_hash

Weights = Mapping[str, Mapping[str, str]]
"""By part (`unet`, `text_encoder`, `loras.0`, ...), the SHA-256 of its files by absolute path."""


def weights_of(role: str, spec: ExpertSpec) -> Weights:
    """The files of an expert, hashed. Decoders are parts of the expert that they lie with.

    Raises:
        ConfinerError: one is missing or cut.
    """
    components = components_of(role, spec, torch.device("cpu"), torch.float32)
    return {
        part: {str(file.absolute()): content_hash(file) for file in files}
        for part, files in _parts(role, spec, components)
    }


def _parts(
    role: str, spec: ExpertSpec, components: Components
) -> Iterator[tuple[str, tuple[Path, ...]]]:
    yield from family_named(spec.family).sources(components).items()
    for name in ("text_encoder", "tokenizer", *(("vae",) if spec.vae else ())):
        yield name, components.sources(name)
    if spec.preview:
        yield PREVIEW, components.sources(PREVIEW)
    for number, (path, _) in enumerate(components.loras):
        yield f"loras.{number}", files_of_lora(path)
    for number, place in enumerate(places(role, spec, "embeddings")):
        yield f"embeddings.{number}", (embedding_file(place),)

"""A look at one expert's weights: hashes, names and shapes, and one question to each network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch

from confiner_cli.errors import FailedError
from confiner_cli.experts.families import family_named
from confiner_cli.experts.loading import (
    components_of,
    load_decoder,
    load_expert,
    load_preview,
)
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.spec import ExpertSpec, requirements
from confiner_cli.weights import hub
from confiner_cli.weights.checksums import verify_file
from confiner_cli.weights.select import read_header

SIDE = 8
FRAMES = 2
T = 500


def inspect(role: str, spec: ExpertSpec, device: torch.device, dtype: torch.dtype) -> Iterator[str]:
    """Check an expert, yielding a line for each thing that is in order.

    Raises:
        ConfinerError: a file is missing, damaged, or not of this network.
        FailedError: a network's answer is not finite.
    """
    yield _hashes(role, spec)
    sources = family_named(spec.family).sources(components_of(role, spec, device, dtype))
    for path in chain.from_iterable(sources.values()):
        if path.suffix != ".json":
            yield f"{path.name}: {_tensors(path)}"
    with NetworkCache() as cache:
        yield from _answers(role, spec, device, dtype, cache)


def _answers(
    role: str, spec: ExpertSpec, device: torch.device, dtype: torch.dtype, cache: NetworkCache
) -> Iterator[str]:
    policy = POLICIES["low"]
    expert = load_expert(role, spec, device, dtype, policy, cache)
    denoiser = expert.condition("a heart")
    cache.close()  # each network goes before the next one comes: they may not fit together
    estimate = denoiser(torch.randn(1, spec.space.channels, FRAMES, SIDE, SIDE), T)
    cache.close()
    if not torch.isfinite(estimate.noise).all():
        raise FailedError(
            f"the {role} expert's answer is not finite",
            "try dtype=fp32; else the weights are damaged",
        )
    yield (
        f"{spec.family}: every tensor in its place; an answer at t={T} is finite "
        f"({device}, {dtype})"
    )
    if spec.vae:
        frames = list(load_decoder(role, spec, device, dtype, policy, cache)(estimate.clean))
        height, width, _ = frames[0].shape
        yield f"vae: decodes to {height}x{width} pixels"
    if spec.preview:
        cache.close()
        frames = list(load_preview(role, spec, device, dtype, policy, cache)(estimate.clean))
        height, width, _ = frames[0].shape
        yield f"preview: decodes to {height}x{width} pixels"


def _hashes(role: str, spec: ExpertSpec) -> str:
    files: list[Path] = []
    for _, requirement in requirements(spec):
        files += hub.files_of(requirement, hub.cached(requirement))
    known = sum(verify_file(path) for path in files)
    return f"{len(files)} files, {known} of them with a known hash, which is right"


def _tensors(path: Path) -> str:
    if path.suffix != ".safetensors":
        return "a pickle, read with weights_only"
    header = read_header(path)
    kinds = Counter(tensor.dtype for tensor in header.values())
    counts = [f"{count} {kind}" for kind, count in kinds.most_common()]
    return f"{len(header)} tensors, {', '.join(counts)}"

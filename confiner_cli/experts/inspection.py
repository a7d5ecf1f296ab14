"""A look at one expert's weights: hashes, names and shapes of all tensors, and one question to each network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from confiner_cli.config.schema import Settings
from confiner_cli.errors import FailedError
from confiner_cli.experts.device import device_of, dtype_of
from confiner_cli.experts.loading import family_of, load_decoder, load_expert, parts_of
from confiner_cli.experts.offload import MEMORY
from confiner_cli.weights import hub
from confiner_cli.weights.checksums import check
from confiner_cli.weights.model_ref import needs
from confiner_cli.weights.select import read_header

SIDE = 8
FRAMES = 2
T = 500


def inspect(role: str, settings: Settings) -> Iterator[str]:
    """Check an expert, yielding a line for each thing that is in order.

    Raises:
        ConfinerError: a file is missing, damaged, or not of this network.
        FailedError: a network's answer is not finite.
    """
    expert = settings.expert(role)
    files = [
        path for _, need in needs(role, expert) for path in hub.files_of(need, hub.cached(need))
    ]
    known = sum(check(path) for path in files)
    yield f"{len(files)} files, {known} of them with a known hash, which is right"
    device = device_of(settings.device)
    dtype = dtype_of(settings.dtype, device)
    parts = parts_of(role, expert, device, dtype)
    for path in family_of(expert).files(parts):
        yield f"{path.name}: {_tensors(path)}"
    loaded = load_expert(role, expert, device, dtype, MEMORY["low"])
    estimate = loaded.given("a heart")(torch.randn(1, 4, FRAMES, SIDE, SIDE), T)
    if not torch.isfinite(estimate.noise).all():
        raise FailedError(
            f"the {role} expert's answer is not finite",
            "try dtype=fp32; else the weights are damaged",
        )
    yield f"{expert.family}: every tensor in its place; an answer at t={T} is finite ({device}, {dtype})"
    if role == "spatial":
        frames = list(load_decoder(expert, device, dtype, MEMORY["low"])(estimate.clean))
        yield f"vae: decodes to {frames[0].shape[0]}x{frames[0].shape[1]} pixels"


def _tensors(path: Path) -> str:
    if path.suffix != ".safetensors":
        return "a pickle, read with weights_only"
    header: dict[str, dict[str, Any]] = read_header(path)
    kinds = Counter(entry["dtype"] for entry in header.values())
    return f"{len(header)} tensors, {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}"

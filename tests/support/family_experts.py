"""One small expert of every family, loaded, and samples to ask it about."""

from pathlib import Path

import torch

from confiner_cli.experts.loading import load_expert
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.spec import ExpertSpec

ROLE_OF = {
    "animatediff": "control",
    "stable_diffusion": "spatial",
    "modelscope": "temporal",
    "lavie": "temporal",
}
CPU = torch.device("cpu")
CACHE = NetworkCache()
"""Tests that do not say otherwise load nothing twice."""
T = 400


def spec_of(family: str, networks: Path, **changes) -> ExpertSpec:
    return ExpertSpec(
        family=family,
        model=str(networks / ("lavie" if family == "lavie" else ROLE_OF[family])),
        shared=str(networks / "shared"),
        beta_schedule="linear",
        beta_start=0.0001,
        beta_end=0.02,
        **changes,
    )


def load(
    family: str,
    spec: ExpertSpec,
    dtype: torch.dtype = torch.float32,
    cache: NetworkCache = CACHE,
):
    return load_expert(ROLE_OF[family], spec, CPU, dtype, POLICIES["high"], cache)


def sample(num_frames: int = 3, batch: int = 1) -> torch.Tensor:
    return torch.randn(
        batch, 4, num_frames, 4, 6, generator=torch.Generator().manual_seed(num_frames)
    )


def distance(one, other) -> float:
    return float((one.clean - other.clean).abs().max())

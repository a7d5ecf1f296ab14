"""One small expert of every family, loaded, and samples to ask it about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from confiner_cli.experts.families import FAMILIES
from confiner_cli.experts.loading import load_expert
from confiner_cli.experts.networks.clip_text import CLIPTextModel
from confiner_cli.experts.networks.umt5 import UMT5TextModel
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.spec import ExpertSpec

BETAS = MappingProxyType({"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02})
WAN = MappingProxyType({
    "network": "transformer",
    "latent_space": "wan21",
    "prediction_type": "flow_prediction",
    "flow_shift": 3.0,
    "whole_timesteps": True,
})  # fmt: skip


@dataclass(frozen=True)
class Small:
    """A family's expert among the tiny networks.

    Attributes:
        role: whose place it takes.
        model: the folder of its network.
        stated: what else its spec says.
        shared: the folder of its companions.
        text: the class of its text encoder.
        width: of the texts that it reads, and what its text encoder's config calls that.
    """

    role: str
    model: str
    stated: Mapping[str, Any]
    shared: str = "shared"
    text: type[torch.nn.Module] = CLIPTextModel
    width: tuple[int, str] = (16, "hidden_size")


EXPERTS = {
    "animatediff": Small("control", "control", BETAS),
    "stable_diffusion": Small("spatial", "spatial", BETAS),
    "modelscope": Small("temporal", "temporal", BETAS),
    "lavie": Small("temporal", "lavie", BETAS),
    "wan": Small("temporal", "wan", WAN, "wan_shared", UMT5TextModel, (32, "d_model")),
}
ROLE_OF = {family: small.role for family, small in EXPERTS.items()}
OF_UNETS = tuple(name for name in FAMILIES if "network" not in EXPERTS[name].stated)
"""Families whose network is a UNet, and no transformer."""
WITH_CLIP = tuple(name for name in FAMILIES if EXPERTS[name].text is CLIPTextModel)
"""Families that CLIP reads prompts for."""
CPU = torch.device("cpu")
CACHE = NetworkCache()
"""Tests that do not say otherwise load nothing twice."""
T = 400


def spec_of(family: str, networks: Path, **changes) -> ExpertSpec:
    small = EXPERTS[family]
    places = {"model": str(networks / small.model), "shared": str(networks / small.shared)}
    return ExpertSpec(**{"family": family, **places, **small.stated, **changes})


def load(
    family: str,
    spec: ExpertSpec,
    dtype: torch.dtype = torch.float32,
    cache: NetworkCache = CACHE,
):
    return load_expert(ROLE_OF[family], spec, CPU, dtype, POLICIES["high"], cache)


def sample(num_frames: int = 3, batch: int = 1, family: str = "stable_diffusion") -> torch.Tensor:
    """In the family's latent space; sides are whole patches."""
    channels = spec_of(family, Path()).space.channels
    generator = torch.Generator().manual_seed(num_frames)
    return torch.randn(batch, channels, num_frames, 4, 6, generator=generator)


def distance(one, other) -> float:
    return float((one.clean - other.clean).abs().max())

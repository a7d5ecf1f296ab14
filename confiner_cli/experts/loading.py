"""From settings to loaded experts. Each network is loaded once a process and kept in a bounded cache."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from confiner_cli.errors import ConfinerError
from confiner_cli.experts import families
from confiner_cli.experts.expert import Expert
from confiner_cli.experts.parts import Network, Parts, resolve
from confiner_cli.experts.text import TextEncoder, load_text
from confiner_cli.experts.vae import Decoder, load_vae
from confiner_cli.schedule import BETA_SCHEDULES
from confiner_cli.settings import ExpertSettings

DTYPES = MappingProxyType({"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16})
CACHED_EXPERTS = 6
DEVICES = ("cpu", "cuda", "mps")

# What matters of a failed load is in our own error; progress is ours to show.
diffusers_logging.set_verbosity_error()
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def load_expert(role: str, settings: ExpertSettings, device: torch.device, dtype: torch.dtype) -> Expert:
    """Load one expert. Raises ConfinerError where a part is missing or damaged."""
    parts = parts_of(role, settings, device, dtype)
    betas = BETA_SCHEDULES[settings.beta_schedule]
    return Expert(
        role=role,
        network=_network(settings.family, parts),
        text=_text(parts.folder("tokenizer").parent, parts.folder("text_encoder").parent, device, dtype),
        schedule=betas(settings.beta_start, settings.beta_end, settings.num_train_timesteps),
        prediction_type=settings.prediction_type,
        guidance_scale=settings.guidance_scale,
        device=device,
        dtype=dtype,
    )


def load_decoder(settings: ExpertSettings, device: torch.device, dtype: torch.dtype) -> Decoder:
    """The VAE of an expert set, which lies with its spatial expert."""
    return _decoder(parts_of("spatial", settings, device, dtype))


# Cached by what is read from disk and nothing else: a sweep over guidance scales loads no weights twice.
@functools.lru_cache(maxsize=CACHED_EXPERTS)
def _network(family: str, parts: Parts) -> Network:
    network: Network = importlib.import_module(f"{families.__name__}.{family}").load(parts)
    return network


@functools.lru_cache(maxsize=CACHED_EXPERTS)
def _decoder(parts: Parts) -> Decoder:
    return load_vae(parts)


@functools.lru_cache(maxsize=CACHED_EXPERTS)
def _text(tokenizer: Path, encoder: Path, device: torch.device, dtype: torch.dtype) -> TextEncoder:
    return load_text(Parts("text", (tokenizer, encoder), device, dtype))


def parts_of(role: str, settings: ExpertSettings, device: torch.device, dtype: torch.dtype) -> Parts:
    """Where the parts of an expert lie: in its model's folder, then in the one that it shares with others."""
    folders = [resolve(model) for model in (settings.model, settings.shared) if model]
    named = [("motion_adapter", resolve(settings.motion_adapter))] if settings.motion_adapter else []
    return Parts(role, tuple(folders), device, dtype, tuple(named))


def device_of(name: str) -> torch.device:
    """The device that `name` means; `auto` is the first GPU, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICES:
            raise RuntimeError(f"{device.type} is none of {', '.join(DEVICES)}")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfinerError(
            f"device={name!r} cannot be used here", "use device=cpu, device=cuda or device=auto"
        ) from error
    return device


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """The precision that `name` means; `auto` is float32 on a CPU and float16 on a GPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    return DTYPES[name]


def load_experts(
    settings: Iterable[tuple[str, ExpertSettings]], device: torch.device, dtype: torch.dtype
) -> dict[str, Expert]:
    """Load the given roles."""
    return {role: load_expert(role, chosen, device, dtype) for role, chosen in settings}

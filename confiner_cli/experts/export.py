"""Experts as whole pipeline folders in diffusers' layout, with the schedules that they state."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.loading import components_of
from confiner_cli.experts.spec import ExpertSpec

_CLIP = {
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "text_encoder": ["transformers", "CLIPTextModel"],
}
_VAE = {"vae": ["diffusers", "AutoencoderKL"]}
_NO_IMAGES = {"feature_extractor": [None, None], "image_encoder": [None, None]}
_NO_CHECKER = {"safety_checker": [None, None], "requires_safety_checker": False}
PIPELINES: dict[str, dict[str, Any]] = {
    "animatediff": {
        "_class_name": "AnimateDiffPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "motion_adapter": ["diffusers", "MotionAdapter"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        **_CLIP,
        **_VAE,
        **_NO_IMAGES,
    },
    "stable_diffusion": {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        **_CLIP,
        **_VAE,
        **_NO_IMAGES,
        **_NO_CHECKER,
    },
    "modelscope": {
        "_class_name": "TextToVideoSDPipeline",
        "unet": ["diffusers", "UNet3DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        **_CLIP,
        **_VAE,
    },
}
"""diffusers' index of a pipeline folder, by the family of the expert in it."""


def export(specs: Mapping[str, ExpertSpec], folder: Path) -> Iterator[Path]:
    """Write a pipeline folder `folder/ROLE` for each expert, and yield its path.

    Args:
        specs: experts by their role: `control`, `spatial`, `temporal`.
        folder: a new folder, or an empty one.

    Raises:
        ConfinerError: the folder is not empty, or the experts' weights are not all in folders here.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfinerError(f"{folder} exists and is not empty", "name a new folder")
    for role, spec in specs.items():
        _export_expert(role, spec, folder / role)
        yield folder / role


def _export_expert(role: str, spec: ExpertSpec, folder: Path) -> None:
    if spec.family not in PIPELINES:
        raise ConfinerError(
            f"the {role} expert is of the family {spec.family}, which is not exported",
            f"sets of {', '.join(PIPELINES)} can be exported",
        )
    index = PIPELINES[spec.family]
    components = components_of(role, spec, torch.device("cpu"), torch.float32)
    # All are found before the first is copied.
    sources = {name: components.folder(name) for name in _copied(index)}
    for name, source in sources.items():
        shutil.copytree(source, folder / name)
    scheduler = folder / "scheduler"
    scheduler.mkdir()
    _write(scheduler / "scheduler_config.json", _scheduler(spec, index["scheduler"][1]))
    _write(folder / "model_index.json", index)


def _copied(index: Mapping[str, Any]) -> list[str]:
    """The components of a pipeline whose folders are copied: all but its scheduler."""
    present = [name for name, kind in index.items() if isinstance(kind, list) and kind[0]]
    return [name for name in present if name != "scheduler"]


def _scheduler(spec: ExpertSpec, kind: str) -> dict[str, Any]:
    """A scheduler that samples as our `trailing` (Euler) and `leading` (DDIM) grids do."""
    stated = {
        "_class_name": kind,
        "beta_schedule": spec.beta_schedule,
        "beta_start": spec.beta_start,
        "beta_end": spec.beta_end,
        "num_train_timesteps": spec.num_train_timesteps,
        "prediction_type": spec.prediction_type,
    }
    if kind == "EulerDiscreteScheduler":
        return stated | {"timestep_spacing": "trailing"}
    return stated | {
        "timestep_spacing": "leading",
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "clip_sample": False,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

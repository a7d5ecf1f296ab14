"""Expert sets as whole pipeline folders in diffusers' layout, with the schedules that our configs state."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from confiner_cli.config.hydra import compose, settings_of
from confiner_cli.config.schema import ROLES, ExpertSettings
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.loading import parts_of

_CLIP = {
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "text_encoder": ["transformers", "CLIPTextModel"],
}
_VAE = {"vae": ["diffusers", "AutoencoderKL"]}
_NO_IMAGES = {"feature_extractor": [None, None], "image_encoder": [None, None]}
_NO_CHECKER = {"safety_checker": [None, None], "requires_safety_checker": False}
PIPELINES: dict[str, dict[str, Any]] = {
    "animatediff": {
        "_class_name": "AnimateDiffPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
        "motion_adapter": ["diffusers", "MotionAdapter"], "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        **_CLIP, **_VAE, **_NO_IMAGES,
    },
    "stable_diffusion": {
        "_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"], **_CLIP, **_VAE, **_NO_IMAGES, **_NO_CHECKER,
    },
    "modelscope": {
        "_class_name": "TextToVideoSDPipeline", "unet": ["diffusers", "UNet3DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"], **_CLIP, **_VAE,
    },
}  # fmt: skip


def export(name: str, folder: Path) -> Iterator[Path]:
    """Write `folder/control`, `folder/spatial`, `folder/temporal` and yield each path.

    Raises:
        ConfinerError: the folder is not empty, or the set's weights are not all in folders here.
    """
    settings = settings_of(compose([f"experts={name}"])).experts
    if folder.exists() and any(folder.iterdir()):
        raise ConfinerError(f"{folder} exists and is not empty", "name a new folder")
    for role in ROLES:
        _export_expert(role, settings.role(role), folder / role)
        yield folder / role


def _export_expert(role: str, expert: ExpertSettings, folder: Path) -> None:
    if expert.family not in PIPELINES:
        raise ConfinerError(
            f"diffusers has no pipeline for the {role} expert's family, {expert.family}",
            f"sets of {', '.join(PIPELINES)} can be exported",
        )
    index = PIPELINES[expert.family]
    parts = parts_of(role, expert, torch.device("cpu"), torch.float32)
    kinds = {
        part: kind
        for part, kind in index.items()
        if isinstance(kind, list) and kind[0] and part != "scheduler"
    }
    sources = {part: parts.folder(part) for part in kinds}
    for part, source in sources.items():
        shutil.copytree(source, folder / part)
    (folder / "scheduler").mkdir()
    _write(
        folder / "scheduler" / "scheduler_config.json", _scheduler(expert, index["scheduler"][1])
    )
    _write(folder / "model_index.json", index)


def _scheduler(expert: ExpertSettings, kind: str) -> dict[str, Any]:
    """A scheduler that samples on diffusers' side as our `trailing` (Euler) and `leading` (DDIM) grids do."""
    betas = {
        name: getattr(expert, name)
        for name in ("beta_schedule", "beta_start", "beta_end", "num_train_timesteps")
    }
    spacing = {"timestep_spacing": "trailing"} if kind == "EulerDiscreteScheduler" else {
        "timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False,
    }  # fmt: skip
    return {"_class_name": kind, **betas, "prediction_type": expert.prediction_type, **spacing}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

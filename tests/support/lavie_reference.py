"""Reference data of LaVie's UNet: a small model with its weights, inputs and outputs, and the full model's keys.

Made by running the published model; every number is float32. `lavie_small_public.json` says what each tensor is.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from confiner_cli.experts.networks.lavie import LaVieUNet

DATA = Path(__file__).parents[1] / "data" / "lavie"
ABOUT = json.loads((DATA / "lavie_small_public.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in ABOUT["cases"]}
TOLERANCE = 2e-5


@functools.cache
def tensors(name="lavie_small_public"):
    return load_file(DATA / f"{name}.safetensors")


def weights(scale):
    given = {
        key.removeprefix("weights."): value
        for key, value in tensors().items()
        if key.startswith("weights.")
    }
    return {key: value * scale.get(key, 1.0) for key, value in given.items()}


def small_unet(name="case0", **changes):
    """The small model with a case's weights, loaded strictly."""
    unet = LaVieUNet(**{**ABOUT["config"], **changes}).eval().requires_grad_(False)
    unet.load_state_dict(weights(CASES[name]["weight_scale"]), strict=True)
    return unet


def inputs(name):
    return [tensors()[f"{name}.{part}"] for part in ("sample", "timestep", "encoder_hidden_states")]


def error(name, unet=None) -> float:
    """The largest absolute difference from a case's output."""
    with torch.no_grad():
        output = (unet or small_unet(name))(*inputs(name)).sample
    return float((output - tensors()[f"{name}.output"]).abs().max())

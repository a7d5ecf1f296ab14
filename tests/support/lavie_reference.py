"""LaVie's UNet as published: a small one's weights, inputs and outputs, and the full one's keys.

Made by running the published model; every number is float32. `lavie_small_public.json` says what
each tensor is.
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
TOLERANCE = 1e-5
"""How far apart two float32 runs of the network may be: the norm of their difference over the norm
of the reference.

Where it comes from: `exact_unet` has hardly any rounding. Next to it the published outputs are off
by 0.8e-6 (case 1) to 3.6e-6 (case 5), and what happens inside by at most 2.3e-6. Ours, on another
CPU than the reference's, are off by 1.1e-6 to 3.6e-6, and by 2.3e-6 inside. So two runs that round
each their own way differ by less than 7.2e-6; side by side they differ by 1.6e-6, because most of
the error is the timestep's, and both make the same. The smallest of the 28 facts that can be got
wrong, tanh instead of erf in GELU, moves the output by 17 times this bound
(`test_lavie_mutations.py`).
"""
TOLERANCE_OF_ANGLES = 2e-5
"""The same for the sines and cosines of timesteps, and for the embedding that is made of them.

In float32 an angle of 999 radians is off by up to 6e-5, however well a sine is computed: next to
`exact_unet` both sides' embedding of the timesteps 0 and 999 is off by 5.9e-6, so two that round
differently are up to 1.2e-5 apart. The rest of the network averages this out.
"""


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


def small_unet(name):
    """The small model with a case's weights, loaded strictly."""
    unet = LaVieUNet(**ABOUT["config"]).eval().requires_grad_(False)
    unet.load_state_dict(weights(CASES[name]["weight_scale"]), strict=True)
    return unet


def inputs(name):
    return [tensors()[f"{name}.{part}"] for part in ("sample", "timestep", "encoder_hidden_states")]


def distance(found, wanted) -> float:
    """The norm of the difference, over the norm of what was wanted."""
    difference = found.double() - wanted.double()
    return float(difference.norm() / wanted.double().norm())


def error(name, unet=None) -> float:
    """How far a network's output is from a case's."""
    with torch.no_grad():
        output = (unet or small_unet(name))(*inputs(name)).sample
    return distance(output, tensors()[f"{name}.output"])


class ExactSines(torch.nn.Module):
    """The timestep's cosines and sines in float64, where diffusers has float32."""

    def __init__(self, width):
        super().__init__()
        self.width = width

    def forward(self, timesteps):
        half = self.width // 2
        frequency = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = timesteps.double()[:, None] * frequency
        return torch.cat((angle.cos(), angle.sin()), dim=-1)


def exact_unet(name):
    """The small model in float64, to measure what float32 costs both the reference and us."""
    unet = small_unet(name).double()
    unet.time_proj = ExactSines(unet.time_proj.num_channels)
    return unet


def exact_inputs(name):
    sample, timestep, text = inputs(name)
    return sample.double(), timestep, text.double()

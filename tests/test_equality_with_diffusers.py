"""The public command makes the latents that diffusers' own pipelines make of the same weights, noise and steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AnimateDiffPipeline, DiffusionPipeline, StableDiffusionPipeline, TextToVideoSDPipeline
from safetensors.torch import load_file
from torch import Tensor

from confiner_cli.cli import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore:unclosed file <_io.Buffered:ResourceWarning"),  # imageio-ffmpeg's pipes
]

PROMPT, NEGATIVE = "a red heart rising over the sea", "a blue star"
NUM_FRAMES = 5


def confiner(folder: Path, *overrides: str) -> dict[str, Tensor]:
    """The latents of a run of the command."""
    words = [f"prompt={PROMPT}", f"negative_prompt={NEGATIVE}", f"num_frames={NUM_FRAMES}", "seed=3", "device=cpu"]
    assert main(["generate", *words, "output.save_latents=true", f"output.dir={folder / 'run'}", *overrides]) == 0
    return load_file(folder / "run" / "latents.safetensors")


def diffusers(kind: type[DiffusionPipeline], folder: Path, latents: Tensor, **settings) -> Tensor:
    """The latents of an unmodified pipeline that starts from the given noise."""
    pipeline = kind.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(PROMPT, negative_prompt=NEGATIVE, latents=latents, output_type="latent", **settings)
    return made.images if kind is StableDiffusionPipeline else made.frames


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape and ours.dtype == torch.float32
    assert (ours - theirs).abs().max() < 1e-3 * theirs.std()


@pytest.fixture(autouse=True)
def _own_argv(monkeypatch):
    """The command hands Hydra its arguments through sys.argv."""
    monkeypatch.setattr("sys.argv", ["confiner"])


@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
def test_the_control_stage_is_animatediff_with_euler(guidance_scale, exported_experts, tmp_path):
    ours = confiner(
        tmp_path, f"experts.control.guidance_scale={guidance_scale}", "scheduler.refinement.num_inference_steps=1"
    )
    theirs = diffusers(
        AnimateDiffPipeline, exported_experts / "control", ours["base_noise"],
        num_frames=NUM_FRAMES, num_inference_steps=4, guidance_scale=guidance_scale,
    )  # fmt: skip
    assert_equal(ours["structure"], theirs)
    assert not torch.equal(ours["refined"], ours["structure"])


def test_the_spatial_expert_alone_is_stable_diffusion_with_ddim(exported_experts, tmp_path):
    ours = confiner(
        tmp_path, "scheduler=spatial_alone", "scheduler.structure.num_inference_steps=20",
        "experts.spatial.guidance_scale=2.0",
    )  # fmt: skip
    theirs = diffusers(
        StableDiffusionPipeline, exported_experts / "spatial", ours["base_noise"][0].transpose(0, 1),
        num_images_per_prompt=NUM_FRAMES, num_inference_steps=20, guidance_scale=2.0,
    )  # fmt: skip
    assert_equal(ours["refined"], theirs.transpose(0, 1)[None])
    assert torch.equal(ours["refined"], ours["structure"])


def test_the_temporal_expert_alone_is_text_to_video_with_ddim(exported_experts, tmp_path):
    ours = confiner(
        tmp_path, "scheduler=temporal_alone", "scheduler.structure.num_inference_steps=20",
        "experts.temporal.guidance_scale=2.0",
    )  # fmt: skip
    theirs = diffusers(
        TextToVideoSDPipeline, exported_experts / "temporal", ours["base_noise"],
        num_frames=NUM_FRAMES, num_inference_steps=20, guidance_scale=2.0,
    )  # fmt: skip
    assert_equal(ours["refined"], theirs)

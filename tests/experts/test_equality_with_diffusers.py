"""The command's latents are those of diffusers' own pipelines: same weights, noise and steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    DiffusionPipeline,
    StableDiffusionPipeline,
    TextToVideoSDPipeline,
)
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel

from confiner_cli.cli import main

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning:diffusers"
    ),
    pytest.mark.filterwarnings(
        "ignore:unclosed file <_io.Buffered:ResourceWarning"
    ),  # imageio-ffmpeg's pipes
]

PROMPT, NEGATIVE = "a red heart rising over the sea", "a blue star"
NUM_FRAMES = 5


def confiner(folder: Path, *overrides: str, prompt: str = PROMPT) -> dict[str, Tensor]:
    """The latents of a run of the command."""
    words = [
        f"prompt={prompt}",
        f"negative_prompt={NEGATIVE}",
        f"num_frames={NUM_FRAMES}",
        "seed=3",
        "device=cpu",
    ]
    assert (
        main(
            [
                "generate",
                *words,
                "output.save_latents=true",
                f"output.dir={folder / 'run'}",
                *overrides,
            ]
        )
        == 0
    )
    return load_file(folder / "run" / "latents.safetensors")


def diffusers(
    kind: type[DiffusionPipeline],
    folder: Path,
    latents: Tensor,
    loras: dict[Path, float] | None = None,
    embeddings: dict[str, Path] | None = None,
    prompt: str = PROMPT,
    **settings,
) -> Tensor:
    """The latents of an unmodified pipeline that starts from the given noise.

    `loras` are files with their scales, `embeddings` words with their files.
    """
    pipeline = kind.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    for path in loras or {}:
        pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name=path.stem)
    if loras:
        pipeline.set_adapters([path.stem for path in loras], list(loras.values()))
    for token, path in (embeddings or {}).items():
        pipeline.load_textual_inversion(path.parent, weight_name=path.name, token=token)
    made = pipeline(
        prompt, negative_prompt=NEGATIVE, latents=latents, output_type="latent", **settings
    )
    return made.images if kind is StableDiffusionPipeline else made.frames


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape and ours.dtype == torch.float32
    assert (ours - theirs).abs().max() < 1e-3 * theirs.std()


@pytest.fixture(autouse=True)
def _own_argv(monkeypatch):
    """The command hands Hydra its arguments through sys.argv."""
    monkeypatch.setattr("sys.argv", ["confiner"])


@pytest.mark.parametrize("guidance_scale", [pytest.param(1.0, marks=pytest.mark.thorough), 2.0])
def test_the_control_stage_is_animatediff_with_euler(guidance_scale, exported_experts, tmp_path):
    ours = confiner(
        tmp_path,
        f"experts.control.guidance_scale={guidance_scale}",
        "scheduler.refinement.num_inference_steps=1",
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
        StableDiffusionPipeline,
        exported_experts / "spatial",
        ours["base_noise"][0].transpose(0, 1),
        num_images_per_prompt=NUM_FRAMES,
        num_inference_steps=20,
        guidance_scale=2.0,
    )
    assert_equal(ours["refined"], theirs.transpose(0, 1)[None])
    assert torch.equal(ours["refined"], ours["structure"])


def write_lora(path: Path, folder: Path, seed: int) -> Path:
    """A LoRA with random weights for a folder's UNet and text encoder, as trainers save it."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    torch.manual_seed(seed)
    layers = {}
    for name, targets in (
        ("unet", ["to_q", "to_v", "ff.net.2"]),
        ("text_encoder", ["q_proj", "fc2"]),
    ):
        module = getattr(pipeline, name)
        module.add_adapter(
            LoraConfig(r=2, lora_alpha=2, target_modules=targets, init_lora_weights=False)
        )
        found = convert_state_dict_to_diffusers(
            get_peft_model_state_dict(module, adapter_name="default")
        )
        layers[name] = {key: value * 1.5 for key, value in found.items()}
    StableDiffusionPipeline.save_lora_weights(
        path.parent,
        layers["unet"],
        text_encoder_lora_layers=layers["text_encoder"],
        weight_name=path.name,
    )
    return path


@pytest.mark.thorough
@pytest.mark.filterwarnings(
    "ignore:Already found a `peft_config`:UserWarning"
)  # the pipeline has two
def test_with_loras_the_spatial_expert_is_stable_diffusion_with_them(exported_experts, tmp_path):
    folder = exported_experts / "spatial"
    loras = {write_lora(tmp_path / f"{name}.safetensors", folder, seed): scale
             for seed, (name, scale) in enumerate((("style", 0.7), ("other", 0.4)))}  # fmt: skip
    listed = ",".join(f"{{path:{path},scale:{scale}}}" for path, scale in loras.items())
    words = ("scheduler=spatial_alone", "scheduler.structure.num_inference_steps=10")
    ours = confiner(
        tmp_path, *words, "experts.spatial.guidance_scale=2.0", f"experts.spatial.loras=[{listed}]"
    )
    noise = ours["base_noise"][0].transpose(0, 1)
    settings = {
        "num_images_per_prompt": NUM_FRAMES,
        "num_inference_steps": 10,
        "guidance_scale": 2.0,
    }
    theirs = diffusers(StableDiffusionPipeline, folder, noise, loras, **settings)
    assert_equal(ours["refined"], theirs.transpose(0, 1)[None])
    without = diffusers(StableDiffusionPipeline, folder, noise, **settings)
    assert (without - theirs).abs().max() > 0.1 * theirs.std()


@pytest.mark.thorough
def test_with_an_embedding_and_clip_skip_the_spatial_expert_is_stable_diffusion_with_them(
    exported_experts, tmp_path, monkeypatch
):
    # diffusers looks for the norm where transformers before 5 had it.
    monkeypatch.setattr(CLIPTextModel, "text_model", property(lambda self: self), raising=False)
    folder, path = exported_experts / "spatial", tmp_path / "heart.pt"
    vectors = 2 * torch.randn(3, 96, generator=torch.Generator().manual_seed(0))
    torch.save({"string_to_param": {"*": vectors}, "name": "heart"}, path)
    prompt = "a <my-heart> rising over the sea"
    ours = confiner(
        tmp_path, "scheduler=spatial_alone", "scheduler.structure.num_inference_steps=5",
        "experts.spatial.guidance_scale=2.0", "experts.spatial.clip_skip=1",
        f"experts.spatial.embeddings=[{{path:{path},token:<my-heart>}}]", prompt=prompt,
    )  # fmt: skip
    settings = {
        "latents": ours["base_noise"][0].transpose(0, 1),
        "num_images_per_prompt": NUM_FRAMES,
        "num_inference_steps": 5,
        "guidance_scale": 2.0,
        "prompt": prompt,
    }
    both = {"embeddings": {"<my-heart>": path}, "clip_skip": 1}
    theirs = diffusers(StableDiffusionPipeline, folder, **both, **settings)
    assert_equal(ours["refined"], theirs.transpose(0, 1)[None])
    for name, value in both.items():
        other = diffusers(StableDiffusionPipeline, folder, **{name: value}, **settings)
        assert (other - theirs).abs().max() > 0.1 * theirs.std()


@pytest.mark.thorough
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

"""Tiny random models in the layouts in which models are published, unlike what is saved today.

Stable Diffusion 1.5 and ModelScope as their repositories are: configs of old versions with few
keys, fp16 variants beside plain weights and pickles, the old names of the VAE's attention, CLIP's
`text_model.` and `position_ids`, a tokenizer in two files. Wan's three repositories in shards, as
`scripts/wan` writes them. What nobody should fetch holds `UNWANTED` instead of tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from safetensors.torch import save_file
from support import tiny_networks as tiny
from torch import Tensor, nn

from wan.folder import INDEX, SCHEDULER, WanFolder

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
BASE = "emilianJR/epiCRealism"
LIGHTNING = "ByteDance/AnimateDiff-Lightning"
LAVIE = "YaohuiW/LaVie"
MODELSCOPE = "ali-vilab/text-to-video-ms-1.7b"
TAESD = "madebyollin/taesd"
FASTWAN = "FastVideo/FastWan2.1-T2V-1.3B-Diffusers"
WAN = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
WAN_5B = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
PINNED = {
    SD15: "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    BASE: "6522cf856b8c8e14638a0aaa7bd89b1b098aed17",
    LIGHTNING: "027c893eec01df7330f5d4b733bc9485ee02e8b2",
    TAESD: "614f76814bbe30edbe2e627ace1c2234c81a2c0e",
}
"""The commits that our configs name."""
UNWANTED = b"nobody should fetch this"
MERGES = (("h", "e"), ("a", "r"), ("ar", "t</w>"))
WAN_SHARD = 40_000
"""Bytes of a file of Wan's: its networks are several."""
MODELSCOPE_WIDTH = 24
"""Of ModelScope's text encoder: another than Stable Diffusion's, as it is in the real ones."""

UNET_2D = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": list(tiny.CHANNELS),
    "center_input_sample": False,
    "cross_attention_dim": tiny.WIDTH,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": tiny.GROUPS,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
UNET_3D = {
    "_class_name": "UNet3DConditionModel",
    "_diffusers_version": "0.15.0.dev0",
    "act_fn": "silu",
    "attention_head_dim": 4,
    "block_out_channels": list(tiny.CHANNELS),
    "cross_attention_dim": MODELSCOPE_WIDTH,
    "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"],
    "downsample_padding": 1,
    "in_channels": 4,
    "layers_per_block": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": tiny.GROUPS,
    "out_channels": 4,
    "sample_size": 32,
    "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
}
VAE = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.6.0",
    "act_fn": "silu",
    "block_out_channels": [4, 4, 4, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "out_channels": 3,
    "sample_size": 512,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
MOTION = {
    "_class_name": "MotionAdapter",
    "_diffusers_version": "0.22.0.dev0",
    "block_out_channels": list(tiny.CHANNELS),
    "motion_layers_per_block": 1,
    "motion_max_seq_length": 32,
    "motion_mid_block_layers_per_block": 1,
    "motion_norm_num_groups": tiny.GROUPS,
    "motion_num_attention_heads": 8,
    "use_motion_mid_block": True,
}
BETAS = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
}
PNDM = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    **BETAS,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
"""Without a `prediction_type`: older than that key, which is `epsilon` where it is absent."""
DDIM = {
    **PNDM,
    "_class_name": "DDIMScheduler",
    "_diffusers_version": "0.15.0.dev0",
    "prediction_type": "epsilon",
}

OLD_ATTENTION = {
    ".to_q.": ".query.",
    ".to_k.": ".key.",
    ".to_v.": ".value.",
    ".to_out.0.": ".proj_attn.",
}
TOKEN = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
SPECIAL = {
    "bos_token": {"content": "<|startoftext|>", **TOKEN},
    "eos_token": {"content": "<|endoftext|>", **TOKEN},
    "pad_token": "<|endoftext|>",
    "unk_token": {"content": "<|endoftext|>", **TOKEN},
}
TRANSFORMERS, DIFFUSERS = "transformers", "diffusers"
PIPELINE = {
    "scheduler": [DIFFUSERS, "PNDMScheduler"],
    "text_encoder": [TRANSFORMERS, "CLIPTextModel"],
    "tokenizer": [TRANSFORMERS, "CLIPTokenizer"],
    "unet": [DIFFUSERS, "UNet2DConditionModel"],
    "vae": [DIFFUSERS, "AutoencoderKL"],
}
CHECKED = {
    "feature_extractor": [TRANSFORMERS, "CLIPImageProcessor"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
}


def stable_diffusion(folder: Path, fp16: bool = True) -> None:
    """Stable Diffusion 1.5: a pipeline, whole checkpoints at its root, and a safety checker."""
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.6.0",
        **PIPELINE,
        **CHECKED,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        _pipeline(
            folder, index, _built(UNet2DConditionModel, UNET_2D), UNET_2D, PNDM, tiny.WIDTH, fp16
        )
    for name in ("feature_extractor/preprocessor_config", "safety_checker/config"):
        _write_json(folder / f"{name}.json", {"_class_name": "StableDiffusionSafetyChecker"})
    unwanted = [
        "v1-5-pruned.safetensors",
        "v1-5-pruned-emaonly.safetensors",
        "v1-5-pruned.ckpt",
        "v1-inference.yaml",
    ]
    unwanted += [
        f"safety_checker/{name}" for name in ("model.safetensors", "model.fp16.safetensors")
    ]
    _write_unwanted(folder, *unwanted, "unet/diffusion_pytorch_model.non_ema.safetensors")


def modelscope(folder: Path, fp16: bool = True) -> None:
    """ModelScope's text-to-video: a pipeline with a UNet over frames and a wider text encoder."""
    classes = {
        "scheduler": [DIFFUSERS, "DDIMScheduler"],
        "unet": [DIFFUSERS, "UNet3DConditionModel"],
    }
    index = {
        "_class_name": "TextToVideoSDPipeline",
        "_diffusers_version": "0.15.0.dev0",
        **PIPELINE,
        **classes,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        _pipeline(
            folder,
            index,
            _built(UNet3DConditionModel, UNET_3D),
            UNET_3D,
            DDIM,
            MODELSCOPE_WIDTH,
            fp16,
        )


def animatediff_lightning(folder: Path) -> None:
    """AnimateDiff-Lightning: state dicts in half precision, one a count of steps, no config."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for steps in (1, 2, 4, 8):
            name, adapter = f"animatediff_lightning_{steps}step", _built(MotionAdapter, MOTION)
            _write_tensors(folder / f"{name}_diffusers.safetensors", _half(adapter.state_dict()))
            _write_unwanted(folder, f"{name}_comfyui.safetensors")
    _write_unwanted(
        folder, "README.md", "LICENSE.md", "comfyui/animatediff_lightning_workflow.json"
    )


def motion_adapter(folder: Path) -> None:
    """A motion adapter in diffusers' layout, plain and fp16."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        tensors = _built(MotionAdapter, MOTION).state_dict()
    _write_weights(
        folder, MOTION, tensors, "diffusion_pytorch_model", "diffusion_pytorch_model", fp16=True
    )
    _write_unwanted(folder, "README.md")


def lavie(folder: Path) -> None:
    """LaVie: pickles at the root, and a config that says that this one is tiny."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        tiny.write_lavie(folder)
    _write_unwanted(folder, "lavie_interpolation.pt", "lavie_vsr.pt", "README.md")


def taesd(folder: Path) -> None:
    """TAESD: one network in diffusers' layout, and its halves in a layout of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        tiny.preview().save_pretrained(folder)
    _write_unwanted(folder, "README.md", "diffusion_pytorch_model.bin", "taesd_decoder.safetensors")


def fastwan(folder: Path) -> None:
    """FastWan: a transformer with gates of sparse attention, and the rest of Wan in 32 bits."""
    made = WanFolder(folder, tiny=True, gates=True, shard=WAN_SHARD, random=_random(7))
    made.transformer()
    made.tokenizer()
    _write_json(folder / "model_index.json", {**INDEX, "_class_name": "WanDMDPipeline"})
    _write_json(folder / "scheduler" / "scheduler_config.json", {**SCHEDULER, "flow_shift": 8.0})
    _write_unwanted_weights(folder, "text_encoder", "vae")


def wan(folder: Path) -> None:
    """Wan 2.1: its text encoder is in 32 bits."""
    made = WanFolder(folder, tiny=True, shard=WAN_SHARD, random=_random(8))
    made.transformer()
    made.vae()
    made.tokenizer()
    made.scheduler()
    _write_json(folder / "model_index.json", INDEX)
    _write_unwanted_weights(folder, "text_encoder")


def wan_5b(folder: Path) -> None:
    """Wan 2.2's smaller model, which is in another latent space: its text encoder is in 16 bits."""
    made = WanFolder(folder, tiny=True, shard=WAN_SHARD, random=_random(9))
    made.text_encoder()
    made.tokenizer()
    made.scheduler()
    pair = {"boundary_ratio": None, "expand_timesteps": True, "transformer_2": [None, None]}
    _write_json(folder / "model_index.json", {**INDEX, **pair})
    _write_unwanted_weights(folder, "transformer", "vae")


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _write_unwanted_weights(folder: Path, *components: str) -> None:
    """Components of Wan's, and what is beside its tokenizer, that nobody should fetch."""
    for component in components:
        stem = "model" if component == "text_encoder" else "diffusion_pytorch_model"
        names = ("config.json", f"{stem}.safetensors")
        _write_unwanted(folder, *(f"{component}/{name}" for name in names))
    _write_unwanted(folder, ".gitattributes", "README.md", "tokenizer/spiece.model")


def _built(kind: Any, config: Mapping[str, Any]) -> nn.Module:
    built: nn.Module = kind.from_config(dict(config))
    return built


def _pipeline(
    folder: Path,
    index: dict,
    unet: nn.Module,
    config: Mapping[str, Any],
    scheduler: dict,
    width: int,
    fp16: bool,
) -> None:
    name = "diffusion_pytorch_model"
    _write_json(folder / "model_index.json", index)
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write_weights(folder / "unet", config, unet.state_dict(), name, name, fp16)
    _write_weights(
        folder / "vae",
        VAE,
        _old_attention(_built(AutoencoderKL, VAE).state_dict()),
        name,
        name,
        fp16,
    )
    _write_text(folder, width, fp16)
    _write_unwanted(folder, ".gitattributes", "README.md")


def _old_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The VAE's tensors by the names from before diffusers had one class of attention."""
    renamed = {}
    for key, value in tensors.items():
        for new, old in OLD_ATTENTION.items():
            key = key.replace(new, old)
        renamed[key] = value
    return renamed


def _write_text(folder: Path, width: int, fp16: bool) -> None:
    tokenizer = tiny.spelling_tokenizer(MERGES)
    encoder = tiny.text_encoder(tokenizer, width)
    tensors = {f"text_model.{key}": value for key, value in encoder.state_dict().items()}
    tensors["text_model.embeddings.position_ids"] = torch.arange(tiny.TOKENS)[None]
    sizes = (
        "attention_dropout",
        "hidden_act",
        "hidden_size",
        "initializer_factor",
        "initializer_range",
        "layer_norm_eps",
        "intermediate_size",
        "max_position_embeddings",
        "model_type",
        "num_attention_heads",
        "num_hidden_layers",
        "projection_dim",
        "vocab_size",
    )
    config = {name: getattr(encoder.config, name) for name in sizes}
    # The published ids are no token's; nothing that we do reads them.
    config |= {
        "architectures": ["CLIPTextModel"],
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
    config |= {"dropout": 0.0, "torch_dtype": "float32", "transformers_version": "4.22.0.dev0"}
    _write_weights(folder / "text_encoder", config, tensors, "model", "pytorch_model", fp16)
    words = sorted(tokenizer.get_vocab().items(), key=lambda word: word[1])
    _write_json(folder / "tokenizer" / "vocab.json", dict(words))
    merges = "\n".join(["#version: 0.2", *(f"{one} {other}" for one, other in MERGES), ""])
    (folder / "tokenizer" / "merges.txt").write_text(merges, encoding="utf-8")
    _write_json(folder / "tokenizer" / "special_tokens_map.json", SPECIAL)
    about = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": tiny.TOKENS,
    }
    kinds = {
        key: {"__type": "AddedToken", **value} if isinstance(value, dict) else value
        for key, value in SPECIAL.items()
    }
    _write_json(
        folder / "tokenizer" / "tokenizer_config.json",
        {**about, **kinds, "tokenizer_class": "CLIPTokenizer"},
    )


def _write_weights(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    name: str,
    pickle: str,
    fp16: bool,
) -> None:
    """A part of a pipeline: its config, its tensors, plain and in half precision, and pickles."""
    _write_json(folder / "config.json", config)
    _write_tensors(folder / f"{name}.safetensors", tensors)
    _write_unwanted(folder, f"{pickle}.bin")
    if fp16:
        _write_tensors(folder / f"{name}.fp16.safetensors", _half(tensors))
        _write_unwanted(folder, f"{pickle}.fp16.bin")


def _half(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key: value.half() if value.is_floating_point() else value for key, value in tensors.items()
    }


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: value.contiguous() for key, value in tensors.items()}, path, metadata={"format": "pt"}
    )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _write_unwanted(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(UNWANTED)


def write(root: Path) -> None:
    """Write the repositories of all expert sets."""
    stable_diffusion(root / SD15)
    stable_diffusion(root / BASE, fp16=False)
    animatediff_lightning(root / LIGHTNING)
    lavie(root / LAVIE)
    modelscope(root / MODELSCOPE)
    taesd(root / TAESD)
    fastwan(root / FASTWAN)
    wan(root / WAN)
    wan_5b(root / WAN_5B)

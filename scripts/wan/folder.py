"""A pipeline folder of Wan 2.1's text-to-video model of 1.3 B with random weights.

Configs, names and precisions are those of Wan-AI/Wan2.1-T2V-1.3B-Diffusers, but for the text
encoder, which is in bfloat16 as in Wan-AI/Wan2.2-TI2V-5B-Diffusers, and for the tokenizer, which
knows letters and no words. What diffusers' classes have as defaults is read there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn
from transformers.models.umt5.configuration_umt5 import UMT5Config
from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

from confiner_cli.experts.empty import without_parameters
from gpu.numbers import fill
from wan.shards import Shapes, write_weights
from wan.tokenizer import write_tokenizer

Config = Mapping[str, Any]
VERSION = {"_diffusers_version": "0.33.0.dev0"}
INDEX = {
    "_class_name": "WanPipeline",
    **VERSION,
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
}
SCHEDULER: Config = {
    "_class_name": "UniPCMultistepScheduler", **VERSION,
    "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001, "disable_corrector": [],
    "dynamic_thresholding_ratio": 0.995, "final_sigmas_type": "zero", "flow_shift": 3.0,
    "lower_order_final": True, "num_train_timesteps": 1000, "predict_x0": True,
    "prediction_type": "flow_prediction", "rescale_betas_zero_snr": False, "sample_max_value": 1.0,
    "solver_order": 2, "solver_p": None, "solver_type": "bh2", "steps_offset": 0,
    "thresholding": False, "timestep_spacing": "linspace", "trained_betas": None,
    "use_beta_sigmas": False, "use_exponential_sigmas": False, "use_flow_sigmas": True,
    "use_karras_sigmas": False,
}  # fmt: skip
TRANSFORMER = {
    "added_kv_proj_dim": None, "attention_head_dim": 128, "cross_attn_norm": True, "eps": 1e-06,
    "ffn_dim": 8960, "freq_dim": 256, "image_dim": None, "in_channels": 16,
    "num_attention_heads": 12, "num_layers": 30, "out_channels": 16, "patch_size": [1, 2, 2],
    "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 1024, "text_dim": 4096,
}  # fmt: skip
VAE = (
    "attn_scales", "base_dim", "dim_mult", "dropout", "latents_mean", "latents_std",
    "num_res_blocks", "temperal_downsample", "z_dim",
)  # fmt: skip
"""What the published config says: of each the default of diffusers' class."""
TEXT_ENCODER = {
    "architectures": ["UMT5EncoderModel"], "classifier_dropout": 0.0, "d_ff": 10240, "d_kv": 64,
    "d_model": 4096, "decoder_start_token_id": 0, "dense_act_fn": "gelu_new", "dropout_rate": 0.1,
    "eos_token_id": 1, "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0,
    "is_encoder_decoder": True, "is_gated_act": True, "layer_norm_epsilon": 1e-06,
    "model_type": "umt5", "num_decoder_layers": 24, "num_heads": 64, "num_layers": 24,
    "output_past": True, "pad_token_id": 0, "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32, "scalable_attention": True, "tie_word_embeddings": False,
    "tokenizer_class": "T5Tokenizer", "torch_dtype": "bfloat16",
    "transformers_version": "4.48.0.dev0", "use_cache": True, "vocab_size": 256384,
}  # fmt: skip
TINY: Mapping[str, Config] = MappingProxyType({
    "transformer": {
        "attention_head_dim": 12, "ffn_dim": 32, "num_attention_heads": 2, "num_layers": 2,
        "rope_max_seq_len": 32, "text_dim": 32,
    },
    "vae": {
        "base_dim": 3, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1,
        "temperal_downsample": [False, True, True],
    },
    "text_encoder": {
        "d_ff": 64, "d_kv": 8, "d_model": 32, "num_decoder_layers": 2, "num_heads": 4,
        "num_layers": 2, "vocab_size": 512,
    },
})  # fmt: skip
"""What else the configs of small networks say: sizes as in diffusers' own tests."""
GATES = ("to_gate_compress.weight", "to_gate_compress.bias")
"""What FastVideo's distilled transformers have in each block beside Wan's own tensors."""
SHARD = 5 * 10**9
"""Bytes of a shard, as `save_pretrained` has it unless told."""


@dataclass(frozen=True)
class WanFolder:
    """What is written, and how large.

    Attributes:
        root: the pipeline folder.
        tiny: whether networks are small ones.
        gates: whether the transformer is FastVideo's, with tensors that dense attention leaves be.
        shard: bytes of a shard.
        random: where the numbers come from.
    """

    root: Path
    tiny: bool = False
    gates: bool = False
    shard: int = SHARD
    random: torch.Generator = field(default_factory=torch.Generator)

    def write(self) -> None:
        """Write all of it."""
        for part in PARTS.values():
            part(self)
        _write_json(self.root / "model_index.json", INDEX)

    def transformer(self, name: str = "transformer") -> None:
        """Write the denoising network, in float32; `transformer_2` is the other one of a pair."""
        config = TRANSFORMER | self._smaller("transformer")
        shapes = _shapes(lambda: WanTransformer3DModel.from_config(config))
        if self.gates:
            width = config["num_attention_heads"] * config["attention_head_dim"]
            shapes |= _gates(config["num_layers"], width)
        self._network(name, {"_class_name": "WanTransformer3DModel", **VERSION, **config}, shapes)

    def vae(self) -> None:
        """Write the VAE, in float32."""
        with without_parameters():
            default = AutoencoderKLWan().config
        config = {name: default[name] for name in VAE} | self._smaller("vae")
        shapes = _shapes(lambda: AutoencoderKLWan.from_config(config))
        self._network("vae", {"_class_name": "AutoencoderKLWan", **VERSION, **config}, shapes)

    def text_encoder(self) -> None:
        """Write the text encoder, in bfloat16; what it has under two names is in it once."""
        config = TEXT_ENCODER | self._smaller("text_encoder")
        shapes = _shapes(lambda: UMT5EncoderModel(UMT5Config(**config)))
        folder = self.root / "text_encoder"
        draw = partial(_drawn, self.random)
        write_weights(folder, "model", shapes, torch.bfloat16, self.shard, draw)
        _write_json(folder / "config.json", config)

    def tokenizer(self) -> None:
        """Write the tokenizer."""
        write_tokenizer(self.root / "tokenizer")

    def scheduler(self) -> None:
        """Write what the pipeline steps by."""
        _write_json(self.root / "scheduler" / "scheduler_config.json", SCHEDULER)

    def _network(self, name: str, config: Config, shapes: Shapes) -> None:
        folder, draw = self.root / name, partial(_drawn, self.random)
        stem = "diffusion_pytorch_model"
        write_weights(folder, stem, shapes, torch.float32, self.shard, draw)
        _write_json(folder / "config.json", config)

    def _smaller(self, name: str) -> dict[str, Any]:
        return dict(TINY[name]) if self.tiny else {}


PARTS: Mapping[str, Callable[[WanFolder], None]] = MappingProxyType({
    "transformer": WanFolder.transformer,
    "vae": WanFolder.vae,
    "text_encoder": WanFolder.text_encoder,
    "tokenizer": WanFolder.tokenizer,
    "scheduler": WanFolder.scheduler,
})  # fmt: skip
"""What writes the components, by name."""


def _shapes(build: Callable[[], Any]) -> dict[str, tuple[int, ...]]:
    """Of all tensors that a network is saved as."""
    with without_parameters():
        module: nn.Module = build()
    tied = getattr(module, "all_tied_weights_keys", {})
    return {
        name: tuple(tensor.shape)
        for name, tensor in module.state_dict().items()
        if name not in tied
    }


def _gates(layers: int, width: int) -> dict[str, tuple[int, ...]]:
    shapes = ((width, width), (width,))
    return {
        f"blocks.{layer}.{name}": shape
        for layer in range(layers)
        for name, shape in zip(GATES, shapes, strict=True)
    }


def _drawn(random: torch.Generator, name: str, values: Tensor) -> Tensor:
    return fill(name.rpartition(".")[2], values, random)


def _write_json(path: Path, content: Config) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

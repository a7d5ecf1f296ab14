"""Every training clip encoded once: what the three UNets are trained on."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import load_file
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from confiner_cli.weights.tensors import save_tensors
from training.text import tokens
from world.captions import caption
from world.render import distinct
from world.scene import Scene, training_scenes

VARIATIONS = 6
SEED = 3
UNCONDITIONAL = 0.1
PARTIAL = 0.08


@torch.no_grad()
def encode_clips(vae: AutoencoderKL, folder: Path) -> None:
    """Write `folder/latents.safetensors`, in the order of `training_scenes`.

    `(clip, 4, 16, 8, 8)`, float16.
    """
    path = folder / "latents.safetensors"
    if path.exists():
        return
    clips = []
    for number, scene in enumerate(training_scenes(VARIATIONS, SEED)):
        frames, index = distinct(scene)
        latents = vae.encode(frames * 2 - 1).latent_dist.mean * vae.config.scaling_factor
        clips.append(latents[index].permute(1, 0, 2, 3).to(torch.float16))
        if number % 500 == 499:
            print(f"latents {number + 1}", flush=True)
    save_tensors({"latents": torch.stack(clips)}, path)


@dataclass(frozen=True)
class Clips:
    """Training clips with their scenes, and what turns captions into hidden states."""

    latents: Tensor
    scenes: list[Scene]
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel

    def draw(
        self, generator: torch.Generator, count: int, frames: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Clips or, with `frames`, single frames, with texts.

        Returns:
            Latents `(count, 4, 16, 8, 8)` or `(count, 4, 8, 8)`, and texts `(count, 32, 96)`.
        """
        chosen = torch.randint(len(self.scenes), (count,), generator=generator)
        latents = self.latents[chosen].float()
        if frames:
            frame = torch.randint(latents.shape[2], (count,), generator=generator)
            latents = latents[torch.arange(count), :, frame]
        rng = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
        texts = [self._text(self.scenes[index], rng) for index in chosen.tolist()]
        with torch.no_grad():
            return latents, self.text_encoder(tokens(self.tokenizer, texts)).last_hidden_state

    def with_more(self, background: str) -> Clips:
        """These clips, and those over one background a second time."""
        again = [index for index, scene in enumerate(self.scenes) if scene.background == background]
        latents = torch.cat((self.latents, self.latents[again]))
        return replace(
            self, latents=latents, scenes=self.scenes + [self.scenes[index] for index in again]
        )

    @staticmethod
    def _text(scene: Scene, rng: random.Random) -> str:
        return "" if rng.random() < UNCONDITIONAL else caption(scene, rng, PARTIAL)


def load_clips(folder: Path) -> Clips:
    """What `encode_clips` and `train_text` left in `folder`."""
    return Clips(
        latents=load_file(folder / "latents.safetensors")["latents"],
        scenes=list(training_scenes(VARIATIONS, SEED)),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder")
        .eval()
        .requires_grad_(False),
    )

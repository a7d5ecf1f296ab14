"""Fit the embedded experts' preview decoder to their VAE: `python scripts/fit_preview.py`.

Structures are sampled and decoded by the VAE. A few convolutions over the latents
(`experts/networks/latent_preview.py`) learn to make the same frames, by least squares, and are put
into the package. How far their frames are from the VAE's is measured on structures of other
prompts.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from confiner_cli.config.hydra import settings_with
from confiner_cli.config.resolve import resolve
from confiner_cli.experts.networks.latent_preview import LatentPreview
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.method.pipeline import sample_structure
from confiner_cli.runs.loaded_pipeline import load_pipeline
from confiner_cli.weights.tensors import save_tensors
from world import captions
from world.scene import placed, seen_in_training

TARGET = Path(__file__).resolve().parents[1] / "confiner_cli" / "embedded" / "preview"
BATCH, RATE = 32, 4e-3
"""Frames a step, and the highest learning rate."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--structures", type=int, default=56, help="to fit to")
    parser.add_argument("--held-out", type=int, default=16, help="to measure on")
    parser.add_argument("--steps", type=int, default=2000, help="of the optimizer")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    found = list(structures(options.structures + options.held_out))
    seen, unseen = found[: options.structures], found[options.structures :]
    preview = fitted(seen, options.steps).half()
    write(preview, options.out)
    errors = [psnr(preview.float(), latents, frames) for latents, frames in unseen]
    print(f"{options.out}: PSNR against the VAE's frames {sum(errors) / len(errors):.1f} dB")
    print(f"(mean of {len(errors)} structures; {min(errors):.1f} to {max(errors):.1f})")


def structures(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Latents `(frame, 4, 8, 8)` of structures, and what the VAE decodes: uint8, colours last.

    Combinations of the world are drawn, all of other seeds.
    """
    rng = random.Random(0)
    settings = settings_with(["experts=tiny"])
    with NetworkCache() as cache, torch.no_grad():
        for seed, combination in enumerate(rng.sample(seen_in_training(), count)):
            prompt = captions.canonical(placed(combination, rng))
            loaded = load_pipeline([resolve(replace(settings, prompt=prompt, seed=seed))], cache)
            latents = sample_structure(loaded.pipeline, 0, None, lambda _, steps, total: steps)
            yield (
                latents.latents[0].transpose(0, 1),
                torch.stack(list(loaded.decoder(latents.latents))),
            )


def fitted(pairs: Sequence[tuple[Tensor, Tensor]], steps: int) -> LatentPreview:
    """The decoder after so many steps down the squared error of random frames."""
    latents = torch.cat([latents for latents, _ in pairs])
    frames = torch.cat([frames for _, frames in pairs]).permute(0, 3, 1, 2) / 127.5 - 1
    torch.manual_seed(0)
    preview: LatentPreview = LatentPreview(latents.shape[1], frames.shape[-1] // latents.shape[-1])
    optimizer = torch.optim.AdamW(preview.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for _ in range(steps):
        drawn = torch.randint(len(latents), (BATCH,))
        error = mse_loss(preview.decode(latents[drawn]).sample, frames[drawn])
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rate.step()
    preview.requires_grad_(False)
    return preview


def psnr(preview: LatentPreview, latents: Tensor, frames: Tensor) -> float:
    """The peak signal-to-noise ratio of its frames, in decibels."""
    shares = (preview.decode(latents).sample.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1)
    error = (shares.mul(255).round() - frames).square().mean()
    return float(10 * torch.log10(255**2 / error))


def write(preview: LatentPreview, folder: Path) -> None:
    """Config and float16 weights, as diffusers reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"_class_name": LatentPreview.__name__, **stated(preview)}
    text = json.dumps(facts, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    weights = {name: value.contiguous() for name, value in preview.state_dict().items()}
    save_tensors(weights, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})


def stated(preview: LatentPreview) -> dict[str, int]:
    """What its config says of it."""
    return {name: preview.config[name] for name in ("latent_channels", "factor", "width", "layers")}


if __name__ == "__main__":
    main()

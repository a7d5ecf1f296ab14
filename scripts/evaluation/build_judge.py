"""Rebuild the judge: `python scripts/evaluation/build_judge.py`. Minutes on one CPU core, seeded.

Trains on renders of combinations that are not held out, dimmed, blurred and noised; then prints the
share of clips judged right on held-out combinations in placements of their own, as rendered and
after the VAE.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cross_entropy

if __name__ == "__main__":  # run by its path: the packages are beside the folder that it lies in
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from confiner_cli.weights.tensors import save_tensors
from evaluation.floor import reconstructor
from evaluation.judge import LOOKS, WEIGHTS, Judge, crops, judge
from evaluation.tracking import mask_place
from world.render import FRAMES, path, render, render_frame
from world.scene import Scene, held_out, indices, placed, seen_in_training

SEED = 11
SAMPLES = 6000
STEPS = 900
BATCH = 128
LEARNING_RATE = 3e-3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="only measure the weights that are there"
    )
    parser.add_argument("--placements", type=int, default=2, help="held-out clips a combination")
    options = parser.parse_args()
    if not options.check:
        tensors = train().state_dict()
        half = {
            key: value.half() if value.is_floating_point() else value
            for key, value in tensors.items()
        }
        save_tensors(half, WEIGHTS, metadata={"format": "pt"})
        print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size / 1024:.0f} KiB")
    scenes = unseen_scenes(options.placements)
    for name, change in {
        "renders": lambda clip: clip,
        "VAE reconstructions": reconstructor(),
    }.items():
        shares = " ".join(f"{key} {value:.3f}" for key, value in accuracy(scenes, change).items())
        print(f"right on {len(scenes)} held-out {name}: {shares}", flush=True)


def train() -> Judge:
    """Train from nothing; everything random is drawn from one generator."""
    torch.manual_seed(SEED)
    generator, network = torch.Generator().manual_seed(SEED), Judge()
    frames, scenes, places = renders(SAMPLES)
    wanted = {name: torch.tensor(indices(scenes, name)) for name in LOOKS}
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=STEPS)
    for step in range(1, STEPS + 1):
        chosen = torch.randint(SAMPLES, (BATCH,), generator=generator)
        batch = crops(
            injured(frames[chosen].float() / 255, generator), shaken(places[chosen], generator)
        )
        _, logits = network(batch)
        losses = [cross_entropy(logits[name], wanted[name][chosen]) for name in LOOKS]
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"judge {step}/{STEPS} loss {loss.item():.4f}", flush=True)
    return network.eval()


def renders(count: int) -> tuple[Tensor, list[Scene], Tensor]:
    """Frames of known combinations, `(count, 3, 64, 64)` in uint8, their scenes and masks."""
    rng = random.Random(SEED)
    scenes = [placed(rng.choice(seen_in_training()), rng) for _ in range(count)]
    numbers = [rng.randrange(FRAMES) for _ in scenes]
    pairs = list(zip(scenes, numbers, strict=True))
    frames = torch.stack(
        [(255 * render_frame(scene, number)).round().to(torch.uint8) for scene, number in pairs]
    )
    return (
        frames,
        scenes,
        torch.stack([mask_place(scene, path(scene)[number]) for scene, number in pairs]),
    )


def injured(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Frames with another brightness and tint, more or less blurred and noisy."""
    count = len(frames)
    gain = 1 + 0.07 * torch.randn(count, 3, 1, 1, generator=generator).clamp(-2, 2)
    shift = 0.04 * torch.randn(count, 1, 1, 1, generator=generator)
    blurred = avg_pool2d(frames, 3, stride=1, padding=1, count_include_pad=False)
    share = torch.rand(count, 1, 1, 1, generator=generator)
    frames = torch.lerp(frames, blurred, share) * gain + shift
    strength = 0.04 * torch.rand(count, 1, 1, 1, generator=generator)
    return (frames + strength * torch.randn(frames.shape, generator=generator)).clamp(0, 1)


def shaken(places: Tensor, generator: torch.Generator) -> Tensor:
    """Places a little beside the truth, as tracking finds them."""
    noise = torch.randn(places.shape, generator=generator).clamp(-2, 2)
    radius = places[:, 2:]
    return places + 0.05 * radius * noise


def unseen_scenes(placements: int) -> list[Scene]:
    """Every held-out combination in fresh placements."""
    rng = random.Random(SEED + 1)
    return [
        placed(combination, rng) for combination in sorted(held_out()) for _ in range(placements)
    ]


def accuracy(scenes: list[Scene], change: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """The share of clips and frames (`..._frames`) judged right after `change`, by attribute."""
    right: dict[str, float] = {}
    for scene in scenes:
        verdict = judge(change(render(scene)))
        for name, share in (verdict.right(scene) | verdict.right_frames(scene)).items():
            right[name] = right.get(name, 0) + share
    return {name: total / len(scenes) for name, total in right.items()}


if __name__ == "__main__":
    main()

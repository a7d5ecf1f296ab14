"""What a second thread gains, by how much a pass has to do: a table on stdout.

    python scripts/neighbours/sizes.py [--quick]

One pass of a network with one thread and with two, in turns, in this process; medians, and the
median of the pairs' ratios. The large network is Stable Diffusion 1.5's UNet with random weights.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

import confiner_cli
from confiner_cli.config.resolve import resolve
from confiner_cli.costs.parallel import FLOPS_OF_A_THREAD
from confiner_cli.costs.table import costs
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.runs.loaded_pipeline import load_pipeline
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.runs.threads import computing_with

SD15 = Path(confiner_cli.__file__).parent / "experts/architectures/sd15/unet/config.json"
EMBEDDED = ((2, 64), (16, 64), (16, 128))
"""Frames, and pixels a side."""
GIGA = 1e9
Pass = Callable[[], object]


def main() -> None:
    quick = "--quick" in sys.argv
    print("| a pass of | GFLOP | 1 thread | 2 threads | ratio | `threads=auto` takes at most |")
    print("|---|---|---|---|---|---|")
    with torch.inference_mode():
        for name, flops, once in passes(quick):
            pairs = [(seconds(once, 1), seconds(once, 2)) for _ in range(2 if quick else 6)][1:]
            one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(second / first for first, second in pairs)
            most = max(1, int(flops // FLOPS_OF_A_THREAD))
            cells = (name, f"{flops / GIGA:.1f}", f"{one:.3f} s", f"{two:.3f} s", f"{ratio:.2f}")
            print(f"| {' | '.join(cells)} | {most} |", flush=True)


def seconds(once: Pass, threads: int) -> float:
    """What a pass takes."""
    with computing_with(threads):
        started = time.perf_counter()
        once()
        return time.perf_counter() - started


def passes(quick: bool) -> Iterator[tuple[str, float, Pass]]:
    """Networks by name, the operations of a pass, and the pass itself."""
    for num_frames, side in EMBEDDED[: 1 if quick else None]:
        flops = costs()["tiny_temporal"].flops(num_frames, side, side)
        yield f"`tiny`, {num_frames} x {side} x {side}", flops, embedded(num_frames, side)
    if not quick:
        yield "SD 1.5, 1 x 256 x 256", costs()["sd15"].flops(1, 256, 256), published()


def embedded(num_frames: int, side: int) -> Pass:
    """The embedded temporal expert, the largest of the three."""
    words = (f"num_frames={num_frames}", f"height={side}", f"width={side}")
    pipeline = load_pipeline([resolve(settings_of_words(words))], NetworkCache()).pipeline
    denoiser = pipeline.denoisers["temporal"][0]
    channels, height, width = pipeline.space_of("temporal").shape(*pipeline.size)
    latents = torch.randn(1, channels, num_frames, height, width)
    return lambda: denoiser(latents, 100.0)


def published() -> Pass:
    """Stable Diffusion 1.5's UNet on latents of 32 x 32."""
    stated = json.loads(SD15.read_text(encoding="utf-8"))
    with torch.device("meta"):
        network = UNet2DConditionModel.from_config(stated)
    network = network.to_empty(device="cpu").eval()
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    text, latents = torch.randn(1, 77, 768), torch.randn(1, 4, 32, 32)
    return lambda: network(latents, torch.tensor(100), text)


if __name__ == "__main__":
    main()

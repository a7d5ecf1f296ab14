"""What confiner adds to its networks, and how it compares with diffusers' own pipeline.

    python scripts/bench.py

Two tables. *Overhead*: seconds of a whole run (files, checks and all, without imports and loading)
over the seconds that its networks took inside it. *Against diffusers*: the control expert alone in
4 steps, by confiner and by AnimateDiffPipeline on the same weights, in turns. Medians over pairs;
both in this one process.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.vae import Decoder
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from diffusers.models.unets.unet_motion_model import UNetMotionModel

import animatediff_pipeline
from confiner_cli.api import load
from confiner_cli.config.hydra import settings_with
from confiner_cli.config.resolve import resolve
from confiner_cli.experts.networks.clip_text import CLIPTextModel
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.runs.execute import execute_jobs
from confiner_cli.runs.folder import RunFolder
from confiner_cli.runs.provenance import versions

PROMPT = "a red heart rising over the sea"
NETWORKS = (UNet2DConditionModel, UNet3DConditionModel, UNetMotionModel, Decoder, CLIPTextModel)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--schedulers", nargs="+", default=["confiner_9", "confiner_18"])
    options = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, {versions()}\n")
    print("| scheduler | run, s | networks, s | overhead |\n|---|---|---|---|")
    for scheduler in options.schedulers:
        with NetworkCache() as cache:
            rows = [whole_run(scheduler, cache) for _ in range(options.pairs + 1)][1:]
        overhead = statistics.median(total / networks - 1 for total, networks in rows)
        total, networks = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"| {scheduler} | {total:.2f} | {networks:.2f} | {100 * overhead:.1f} % |", flush=True
        )
    ours, theirs = against_diffusers(options.pairs)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print("\n| control alone, 4 steps, 16 frames | median, s |\n|---|---|")
    print(f"| confiner | {statistics.median(ours):.3f} |")
    print(f"| AnimateDiffPipeline | {statistics.median(theirs):.3f} |")
    share = f"{ratio:.3f} of AnimateDiffPipeline's time"
    print(f"\nconfiner takes {share} (median of {options.pairs} pairs)")


@contextmanager
def timed_networks() -> Iterator[list[float]]:
    """Collect the seconds of every forward pass of the networks' classes."""
    seconds: list[float] = []
    plain: dict[Any, Any] = {kind: kind.forward for kind in NETWORKS}

    def timed(forward: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **kwargs: object) -> object:
            started = time.perf_counter()
            result = forward(*args, **kwargs)
            seconds.append(time.perf_counter() - started)
            return result

        return wrapper

    for kind, forward in plain.items():
        kind.forward = timed(forward)
    try:
        yield seconds
    finally:
        for kind, forward in plain.items():
            kind.forward = forward


def whole_run(scheduler: str, cache: NetworkCache) -> tuple[float, float]:
    """Seconds of one run into a new folder, and of the networks inside it.

    The experts are cached after the first.
    """
    settings = settings_with([f"scheduler={scheduler}"])
    job = resolve(replace(settings, prompt=PROMPT, seed=1))
    with tempfile.TemporaryDirectory() as folder, timed_networks() as seconds:
        started = time.perf_counter()
        execute_jobs([job], RunFolder(Path(folder)), {}, cache)
        return time.perf_counter() - started, sum(seconds)


def against_diffusers(pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of confiner's and of diffusers' control stage, decoded frames included.

    In turns, after one warm-up each.
    """
    control = settings_with(["experts=tiny"]).experts.control
    pipeline = animatediff_pipeline.from_export(control, torch.device("cpu"))
    confiner = load("tiny", "scheduler.refinement.num_inference_steps=0")

    def ours() -> object:
        return confiner.generate(PROMPT, seed=1).frames

    def theirs() -> object:
        return animatediff_pipeline.sample(pipeline, PROMPT, 16, (64, 64), steps=4, seed=1)

    rows = [(stopwatch(ours), stopwatch(theirs)) for _ in range(pairs + 1)][1:]
    return [row[0] for row in rows], [row[1] for row in rows]


def stopwatch(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

"""The networks on a CPU: confiner's beside diffusers' own pipelines, with the same weights.

    OMP_NUM_THREADS=1 python scripts/bench_networks.py [--parts videos passes vae]

Each contender has a process of its own, as its users have; they are asked in turns, so what else
the machine does meets both. Numbers are medians, ratios are medians of pairs.

- `videos`: whole videos of one expert, text and decoding included, without guidance: the same
  evaluations by AnimateDiffPipeline (Euler), StableDiffusionPipeline and TextToVideoSDPipeline
  (DDIM).
- `passes`: one pass of each network, its operations a second beside what a product of matrices
  reaches in the same minute.
- `vae`: frames that it takes at once.
- `compile`: `compile=regional` and `compile=true`, in a first process and in one that finds what
  the first has compiled; not without being asked for, since it takes ten minutes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from confiner_cli.config.hydra import settings_with
from confiner_cli.experts.export import export
from confiner_cli.runs.provenance import versions

PROMPT = "a red heart rising over the sea"
ROLES = ("control", "spatial", "temporal")
FRAMES, PIXELS, LATENT, SIDE = 16, 64, 8, 1024
STEPS = {"control": 4, "spatial": 20, "temporal": 20}
ALONE = {
    "control": ("scheduler.refinement.num_inference_steps=0",),
    "spatial": ("scheduler=spatial_alone",),
    "temporal": ("scheduler=temporal_alone",),
}
PEERS = {
    "control": "AnimateDiffPipeline",
    "spatial": "StableDiffusionPipeline",
    "temporal": "TextToVideoSDPipeline",
}
VAE_BATCHES = (1, 2, 4, 8, 16)

Works = Mapping[str, Callable[[], object]]
"""What a contender can be asked for, by name."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*QUICK])
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    threads = torch.get_num_threads()
    print(f"{platform.machine()}, {_cpu()}, {threads} threads, {versions()}")
    with tempfile.TemporaryDirectory() as folder:
        specs = settings_with(["experts=tiny"]).experts.by_role()
        list(export(specs, Path(folder) / "exported"))
        for part in options.parts:
            print()
            for line in PARTS[part](Path(folder) / "exported", options.pairs):
                print(line, flush=True)


def _cpu() -> str:
    found = Path("/proc/cpuinfo")
    lines = found.read_text(encoding="utf-8").splitlines() if found.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "CPU"


# Contenders: each in a process of its own.


@dataclass(frozen=True)
class Contender:
    """A process that does what it is asked for and says how long that took."""

    pipe: Connection

    def seconds(self, name: str) -> float:
        """Have it done once."""
        return float(self._ask(name, "seconds"))

    def operations(self, name: str) -> int:
        """Two for a multiply-add, of matrix products, convolutions and attention."""
        return int(self._ask(name, "operations"))

    def _ask(self, name: str, what: str) -> Any:
        self.pipe.send((name, what))
        answer = self.pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def contender(make: Callable[[], Works]) -> Iterator[Contender]:
    """A process with what `make` gives there."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(there, make), daemon=True)
    process.start()
    there.close()
    try:
        yield Contender(here)
    finally:
        here.close()
        process.join()


def _serve(pipe: Connection, make: Callable[[], Works]) -> None:
    _quiet()
    works, measures = make(), {"seconds": _timed, "operations": _operations}
    with suppress(EOFError):  # the other end is closed
        while True:
            name, what = pipe.recv()
            try:
                pipe.send(measures[what](works[name]))
            except Exception as error:
                pipe.send(RuntimeError(f"{name}: {error}"))


def _quiet() -> None:
    """No progress bars, and no remarks about packages that are not needed."""
    import diffusers.utils.logging
    import transformers.utils.logging

    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _operations(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counted:
        work()
    return int(counted.get_total_flops())


def our_videos() -> Works:
    """As the command makes them, without files."""
    from confiner_cli.api import load
    from confiner_cli.runs.freed_memory import keep_freed_memory

    keep_freed_memory()
    return {role: partial(_our_video, load("tiny", *_words(role))) for role in ROLES}


def _words(role: str) -> tuple[str, ...]:
    steps = f"scheduler.structure.num_inference_steps={STEPS[role]}"
    return (*ALONE[role], steps, f"experts.{role}.guidance_scale=1.0")


def _our_video(confiner: Any) -> object:
    return confiner.generate(PROMPT, seed=1).frames


def their_videos(folder: Path) -> Works:
    """By pipelines as diffusers reads them."""
    return {role: partial(_their_video, role, pipeline(role, folder)) for role in ROLES}


def pipeline(role: str, folder: Path) -> Any:
    """The unmodified pipeline of a role's exported folder."""
    import diffusers

    kind = getattr(diffusers, PEERS[role])
    made = kind.from_pretrained(folder / role, local_files_only=True)
    made.set_progress_bar_config(disable=True)
    return made


def _their_video(role: str, peer: Any) -> object:
    frames: dict[str, int] = {"num_frames": FRAMES}
    if role == "spatial":
        frames = {"num_images_per_prompt": FRAMES}
    return peer(
        PROMPT,
        height=PIXELS,
        width=PIXELS,
        num_inference_steps=STEPS[role],
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(1),
        output_type="pt",
        **frames,
    )


def our_networks(compiling: bool | str = False) -> Works:
    """A pass of each network as the sampling asks for it, and the peak."""
    from confiner_cli.experts.loading import load_decoder, load_encoder, load_expert
    from confiner_cli.experts.offload import POLICIES, NetworkCache
    from confiner_cli.runs.freed_memory import keep_freed_memory

    keep_freed_memory()
    specs = settings_with(["experts=tiny"]).experts.by_role()
    loading = (torch.device("cpu"), torch.float32, POLICIES["high"], NetworkCache())
    x_t = torch.randn(1, 4, FRAMES, LATENT, LATENT)
    works: dict[str, Callable[[], object]] = {}
    for role in ROLES:
        expert = load_expert(role, specs[role], *loading, compiling=compiling)
        works[role] = partial(expert.condition(PROMPT), x_t, 100.0)
    decoder = load_decoder("spatial", specs["spatial"], *loading, compiling)
    encoder = load_encoder("spatial", specs["spatial"], *loading, compiling)
    frames = torch.randint(0, 256, (FRAMES, PIXELS, PIXELS, 3), dtype=torch.uint8)
    for batch in VAE_BATCHES:
        works[f"decode {batch}"] = partial(_decoded, replace(decoder, batch=batch), x_t)
        works[f"encode {batch}"] = partial(replace(encoder, batch=batch), frames)
    works["decode"], works["encode"] = partial(_decoded, decoder, x_t), partial(encoder, frames)
    one, other = torch.randn(2, SIDE, SIDE)
    return works | {"peak": partial(torch.mm, one, other)}


def _decoded(decoder: Any, latents: torch.Tensor) -> object:
    return list(decoder(latents))


def their_networks(folder: Path) -> Works:
    """A pass of each network as its pipeline asks for it."""
    works: dict[str, Callable[[], object]] = {}
    x_t, t = torch.randn(1, 4, FRAMES, LATENT, LATENT), torch.tensor(100.0)
    frames = x_t[0].transpose(0, 1)
    for role in ROLES:
        peer = pipeline(role, folder)
        text, _ = peer.encode_prompt(PROMPT, torch.device("cpu"), 1, False)
        if role != "temporal":  # it repeats the text itself
            text = text.repeat_interleave(FRAMES, dim=0)
        works[role] = partial(_their_pass, peer.unet, frames if role == "spatial" else x_t, t, text)
        vae = peer.vae
    pixels = torch.rand(FRAMES, 3, PIXELS, PIXELS)
    return works | {
        "decode": partial(_their_pass, vae.decode, frames),
        "encode": partial(_their_pass, vae.encode, pixels),
    }


@torch.no_grad()
def _their_pass(network: Callable[..., object], *arguments: torch.Tensor) -> object:
    return network(*arguments)


# Tables.


def in_turns(asked: Sequence[tuple[Contender, str]], times: int) -> list[list[float]]:
    """The seconds of each, asked one after another so many times, after once to warm up."""
    rows = [[one.seconds(name) for one, name in asked] for _ in range(times + 1)]
    return [list(column) for column in zip(*rows[1:], strict=True)]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over pairs."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def videos(folder: Path, pairs: int) -> Iterator[str]:
    """Whole videos."""
    with ExitStack() as stack:
        ours = stack.enter_context(contender(our_videos))
        theirs = stack.enter_context(contender(partial(their_videos, folder)))
        yield f"| {FRAMES} frames of {PIXELS}x{PIXELS} | confiner, s | diffusers, s | ratio |"
        yield "|---|---|---|---|"
        for role in ROLES:
            own, other = in_turns([(ours, role), (theirs, role)], pairs)
            name = f"{role}, {STEPS[role]} steps, {PEERS[role]}"
            seconds = " | ".join(f"{statistics.median(each):.3f}" for each in (own, other))
            yield f"| {name} | {seconds} | {ratio(own, other):.2f} |"


def passes(folder: Path, pairs: int) -> Iterator[str]:
    """One pass of each network."""
    with ExitStack() as stack:
        ours = stack.enter_context(contender(our_networks))
        theirs = stack.enter_context(contender(partial(their_networks, folder)))
        yield (
            "| a pass over 16 frames | confiner, ms | diffusers, ms | ratio | confiner, GFLOP/s "
            "| diffusers, GFLOP/s | product of matrices, GFLOP/s |"
        )
        yield "|---" * 7 + "|"
        for name in (*ROLES, "decode", "encode"):
            asked = [(ours, name), (theirs, name), (ours, "peak")]
            own, other, peak = in_turns(asked, 3 * pairs)
            speeds = [_speed(ours, name, own), _speed(theirs, name, other)]
            best = 2 * SIDE**3 / statistics.median(peak) / 1e9
            seconds = [f"{1e3 * statistics.median(each):.1f}" for each in (own, other)]
            cells = [name, *seconds, f"{ratio(own, other):.2f}"]
            yield f"| {' | '.join(cells)} | {speeds[0]:.0f} | {speeds[1]:.0f} | {best:.0f} |"


def _speed(one: Contender, name: str, seconds: Sequence[float]) -> float:
    """Counted operations, GFLOP a second."""
    return one.operations(name) / statistics.median(seconds) / 1e9


def vae(_: Path, pairs: int) -> Iterator[str]:
    """How many frames at once."""
    with contender(our_networks) as ours:
        yield f"| VAE, ms a frame | {' | '.join(f'{batch} at once' for batch in VAE_BATCHES)} |"
        yield "|---" * (1 + len(VAE_BATCHES)) + "|"
        for direction in ("decode", "encode"):
            asked = [(ours, f"{direction} {batch}") for batch in VAE_BATCHES]
            columns = in_turns(asked, 2 * pairs)
            cells = [f"{1e3 * statistics.median(each) / FRAMES:.1f}" for each in columns]
            yield f"| {direction} | {' | '.join(cells)} |"


def compiling(folder: Path, pairs: int) -> Iterator[str]:
    """What compiling takes and brings; the code is kept in a folder of this run."""
    yield "| a pass over 16 frames | compile | first process, s | later ones, s | ratio to false |"
    yield "|---|---|---|---|---|"
    with contender(our_networks) as eager:
        modes: tuple[bool | str, ...] = ("regional", True)
        for name, mode in product(ROLES, modes):
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / f"{name}-{mode}")
            with contender(partial(our_networks, mode)) as first:
                seconds = first.seconds(name)
            with contender(partial(our_networks, mode)) as later:
                again = later.seconds(name)
                own, plain = in_turns([(later, name), (eager, name)], 3 * pairs)
            word = str(mode).lower()
            yield f"| {name} | {word} | {seconds:.0f} | {again:.0f} | {ratio(own, plain):.2f} |"


QUICK: Mapping[str, Callable[[Path, int], Iterator[str]]] = {
    "videos": videos,
    "passes": passes,
    "vae": vae,
}
PARTS = {**QUICK, "compile": compiling}

if __name__ == "__main__":
    main()

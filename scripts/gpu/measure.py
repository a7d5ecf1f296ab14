"""One row: a video made several times by the product's own run, or by diffusers, and timed."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import torch

import animatediff_pipeline
from confiner_cli.config.hydra import settings_with
from confiner_cli.config.job import Job
from confiner_cli.config.resolve import resolve
from confiner_cli.costs.memory import peak_bytes, policy_of
from confiner_cli.costs.table import companions, costs
from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.experts.device import device_of, dtype_of, free_memory
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.media.video import verify, write_video
from confiner_cli.runs.execute import execute_jobs
from confiner_cli.runs.folder import RunFolder
from confiner_cli.runs.record import read_run
from evaluation.clips import frames_of
from gpu.networks import DECODED, Models
from gpu.waits import counted

PROMPT = "a red fox running over snow"
DIFFUSERS = "animatediff_4"
UNGUIDED = "scheduler.guidance_interval=[0.35,1.0]"
"""No guidance in the refinement: at Te = 100 and below all experts' noise is below 0.33."""
CHOICES = ("compile=regional", "compile=true", "output.structure=preview", "output.structure=false")
"""Settings that a run is measured with and without."""
LONG = 10
"""Seconds of a run whose waits are not counted: torch's profiler keeps every kernel of it."""
COLOURS = 3
BESIDE = ("total", "compile")
"""What run.json has beside the seconds of stages: their sum, and what they had of compiling."""
RUNS: Mapping[str, tuple[str, ...]] = {
    "confiner_9": ("scheduler=confiner_9",),
    "confiner_9_unguided": ("scheduler=confiner_9", UNGUIDED),
    "confiner_18": ("scheduler=confiner_18",),
    "confiner_18_unguided": ("scheduler=confiner_18", UNGUIDED),
    "control_4": ("scheduler=confiner_9", "scheduler.refinement.num_inference_steps=0"),
    DIFFUSERS: ("scheduler=confiner_9", "scheduler.refinement.num_inference_steps=0"),
}
"""Of sets whose refinement asks a spatial and a temporal expert."""
ALONE: Mapping[str, tuple[str, ...]] = {
    "draft_refine": ("scheduler=draft_refine",),
    "draft_refine_unguided": ("scheduler=draft_refine", UNGUIDED),
    "draft_3": ("scheduler=draft_refine", "scheduler.refinement.num_inference_steps=0"),
}
"""Of sets whose temporal expert refines alone."""


def runs_of(experts: str) -> Mapping[str, tuple[str, ...]]:
    """The runs that a set can make."""
    return RUNS if settings_with([f"experts={experts}"]).experts.spatial else ALONE


def temporal_alone(steps: int) -> dict[str, tuple[str, ...]]:
    """The run of the temporal expert alone in so many guided DDIM steps, by its name."""
    return {
        f"temporal_{steps}": (
            "scheduler=temporal_alone",
            f"scheduler.structure.num_inference_steps={steps}",
        )
    }


@dataclass(frozen=True)
class Setup:
    """What all cases share.

    Attributes:
        models: models without weights.
        device: as the product names it.
        dtype: as the product names it.
        repeats: how often a video is made, after the first time.
        cache: owns the networks.
    """

    models: Models
    device: str = "auto"
    dtype: str = "auto"
    repeats: int = 3
    cache: NetworkCache = field(default_factory=NetworkCache)


@dataclass(frozen=True)
class Case:
    """What is measured: a set of experts at a size, how it samples, and the memory setting."""

    experts: str
    height: int
    width: int
    num_frames: int
    run: str
    overrides: tuple[str, ...]
    memory: str = "auto"

    @property
    def prompt(self) -> str:
        """One of its own: what large text encoders say of one is kept."""
        size = f"{self.num_frames}x{self.height}x{self.width}"
        return f"{PROMPT}, {size}, {self.run}, {self.memory}"

    def job(self, setup: Setup) -> Job:
        """As the command line would have it, decided; but for the models."""
        chosen = {
            "height": self.height,
            "width": self.width,
            "num_frames": self.num_frames,
            "device": setup.device,
            "dtype": setup.dtype,
            "memory": self.memory,
        }
        words = [f"{key}={value}" for key, value in chosen.items()]
        settings = settings_with([f"experts={self.experts}", *self.overrides, *words])
        experts = setup.models.of(settings.experts)
        return resolve(replace(settings, prompt=self.prompt, seed=1, experts=experts))


@dataclass(frozen=True)
class Made:
    """What one video took, and what was counted meanwhile."""

    seconds: float
    stages: Mapping[str, float]
    evaluations: Mapping[str, int]
    passes: Mapping[str, int]
    video_bytes: int


@dataclass(frozen=True)
class Row:
    """A case and what was measured of it; what was not is None or empty.

    Sizes are in bytes, stages are medians in seconds.
    """

    experts: str
    height: int
    width: int
    num_frames: int
    run: str
    memory: str
    failure: str | None = None
    first_seconds: float | None = None
    seconds: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    evaluations: Mapping[str, int] = field(default_factory=dict)
    passes: Mapping[str, int] = field(default_factory=dict)
    decoded_frames: int | None = None
    video_bytes: int | None = None
    peak_bytes: int | None = None
    reserved_bytes: int | None = None
    needed_bytes: float | None = None
    unet_flops: float | None = None
    vae_flops: float | None = None
    waits: Mapping[str, int] = field(default_factory=dict)

    @property
    def flops(self) -> float | None:
        """Operations of UNets and VAE together."""
        if self.unet_flops is None or self.vae_flops is None:
            return None
        return self.unet_flops + self.vae_flops

    @property
    def sampling(self) -> float | None:
        """Seconds of both stages together."""
        known = [self.stages[name] for name in ("structure", "refinement") if name in self.stages]
        return sum(known) if known else None


def measured(case: Case, setup: Setup) -> Row:
    """Make the case's video once, then a few times more. A failure is a row.

    Before the first time the networks are in the host's memory, as after reading them.
    """
    rest(setup.cache)
    job, device = case.job(setup), device_of(setup.device)
    dtype = dtype_of(setup.dtype, device)
    memory, make = maker(case, setup)
    row = Row(case.experts, case.height, case.width, case.num_frames, case.run, memory)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    DECODED.clear()
    try:
        made = [make() for _ in range(1 + setup.repeats)]
        memory_of_these, decoded = _memory(device), Counter(DECODED)
        frames = _frames(decoded, job, dtype) // len(made)
    except (torch.OutOfMemoryError, ConfinerError) as error:
        return replace(row, failure="out of memory" if _out_of_memory(error) else str(error))
    known = {} if setup.models.small else costs_of(job, memory, dtype, made[0].passes, frames)
    measures = {**_times(made), **memory_of_these, **known}
    return replace(row, decoded_frames=frames, **measures)


def _frames(decoded: Mapping[torch.dtype, int], job: Job, dtype: torch.dtype) -> int:
    """How many frames were decoded, in the precision that the VAE should compute in."""
    in_32_bits = job.experts[job.draft_role].space.time_factor > 1  # Wan's, whatever dtype is
    wanted = torch.float32 if in_32_bits else dtype
    if set(decoded) != {wanted}:
        raise FailedError(
            f"frames were decoded in {', '.join(map(str, decoded))}", f"expected {wanted}"
        )
    return decoded[wanted] // (COLOURS * prod(job.size))


def maker(case: Case, setup: Setup) -> tuple[str, Callable[[], Made]]:
    """The memory setting that the case comes to, and what makes its video."""
    job, device = case.job(setup), device_of(setup.device)
    if case.run == DIFFUSERS:
        return "none", with_diffusers(job, setup.cache)
    dtype = dtype_of(setup.dtype, device)
    memory = policy_of(job, free_memory(device), dtype.itemsize).name
    return memory, functools.partial(with_confiner, job, memory, setup.cache)


def with_waits(row: Row, case: Case, setup: Setup) -> Row:
    """The row with what the CPU waits for, of two more videos; not where they take long, or fail.

    After torch's profiler all that is told to a GPU takes longer, until the process ends.
    """
    if row.seconds is None or row.seconds > LONG:
        return row
    rest(setup.cache)
    _, make = maker(case, setup)
    try:
        make()
        return replace(row, waits=counted(make))
    except (torch.OutOfMemoryError, ConfinerError):
        return row  # what was measured before stays


def chosen(case: Case, choice: str) -> Case:
    """The case with a setting."""
    return replace(case, run=f"{case.run} {choice}", overrides=(*case.overrides, choice))


def is_possible(case: Case, setup: Setup) -> bool:
    """Whether a set can make such a video: one has no preview decoder, say. Why not is said."""
    try:
        case.job(setup)
    except ConfinerError as error:
        print(f"{case.experts} {case.run}: left out: {error}", file=sys.stderr, flush=True)
        return False
    return True


def rest(cache: NetworkCache) -> None:
    """Move all networks to the host's memory: each row begins with an empty device."""
    cache.on_device.clear()
    for module in cache.modules.values():
        module.to("cpu")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def make_networks(case: Case, setup: Setup) -> None:
    """Make all networks of a set by a run of one small frame, in the least memory."""
    setup.cache.close()
    scheduler, *_ = runs_of(case.experts).values()
    overrides = (*scheduler, "scheduler.refinement.num_inference_steps=1")
    smallest = replace(case, height=64, width=64, num_frames=1, overrides=overrides)
    with_confiner(smallest.job(setup), "low", setup.cache)


def with_confiner(job: Job, memory: str, cache: NetworkCache) -> Made:
    """One whole run of the product: a folder with both videos, a contact sheet and a record."""
    job = replace(job, settings=replace(job.settings, memory=memory))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        started = time.perf_counter()
        (video,) = execute_jobs([job], RunFolder(Path(folder)), {}, cache)
        seconds = time.perf_counter() - started
        record = read_run(video.parent)
        file_size = _verified(video, job)
    stages = {stage: value for stage, value in record.seconds.items() if stage not in BESIDE}
    stages["files"] = max(0.0, record.seconds["total"] - sum(stages.values()))
    return Made(seconds, stages, record.evaluations, record.passes, file_size)


def with_diffusers(job: Job, cache: NetworkCache) -> Callable[[], Made]:
    """AnimateDiffPipeline on the control expert's networks, in four Euler steps.

    Its frames are written by our encoder. The pipeline is made with the first video.
    """
    pipeline = functools.cache(functools.partial(animatediff_pipeline.on_networks, job, cache))
    count = int(job.num_frames)

    def make() -> Made:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            started = time.perf_counter()
            clip = animatediff_pipeline.sample(pipeline(), PROMPT, count, job.size, steps=4, seed=1)
            write_video(path, frames_of(clip), job.size, job.fps)
            seconds = time.perf_counter() - started
            file_size = _verified(path, job)
        counts = {"control": 4, "spatial": 0, "temporal": 0}
        return Made(seconds, {}, counts, counts, file_size)

    return make


def _verified(video: Path, job: Job) -> int:
    """Bytes of a file that decodes to the frames that it should have."""
    verify(video, int(job.num_frames), job.size)
    return video.stat().st_size


def _times(made: Iterable[Made]) -> dict[str, Any]:
    first, *others = made
    others = others or [first]
    stages = {}
    for name in others[0].stages:
        stages[name] = statistics.median(each.stages[name] for each in others)
    return {
        "first_seconds": first.seconds,
        "seconds": statistics.median(each.seconds for each in others), "stages": stages,
        "evaluations": dict(first.evaluations), "passes": dict(first.passes),
        "video_bytes": first.video_bytes,
    }  # fmt: skip


def _memory(device: torch.device) -> dict[str, Any]:
    if device.type != "cuda":
        return {}  # a process's peak never falls again, so it says nothing about a row
    return {
        "peak_bytes": torch.cuda.max_memory_allocated(device),
        "reserved_bytes": torch.cuda.max_memory_reserved(device),
    }


def costs_of(
    job: Job, memory: str, dtype: torch.dtype, passes: Mapping[str, int], decoded: int
) -> dict[str, Any]:
    """Operations of so many passes and decoded frames, and the product's estimate of memory.

    The networks are published ones, whose costs are in the table.
    """
    table, count = costs(), int(job.num_frames)
    asked = [role for role in passes if passes[role]]
    unets = {role: table[job.experts[role].architecture or ""] for role in asked}
    _, vae = companions(job.experts[job.draft_role].architecture or "")
    return {
        "unet_flops": sum(passes[role] * unets[role].flops(count, *job.size) for role in asked),
        "vae_flops": table[vae].flops(decoded, *job.size),
        "needed_bytes": peak_bytes(job, memory, dtype.itemsize) if memory in POLICIES else None,
    }


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return True
        error = error.__cause__
    return False

"""One row: a video made several times by the product's own run, or by diffusers, and timed."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from confiner_cli.config.hydra import compose, settings_of
from confiner_cli.config.resolve import resolved
from confiner_cli.config.schema import Settings
from confiner_cli.costs.memory import memory_of, needed
from confiner_cli.costs.table import costs
from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.experts.device import device_of, dtype_of, free_memory
from confiner_cli.experts.loading import load_decoder, load_expert
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.media.video import verify, write_video
from confiner_cli.runs.execute import run
from confiner_cli.runs.record import Place, read_run
from gpu.networks import DECODED, Models

ROLES = ("control", "spatial", "temporal")
PROMPT = "a red fox running over snow"
DIFFUSERS = "animatediff_4"
UNGUIDED = "scheduler.guidance_interval=[0.35,1.0]"
"""No guidance in the refinement: at Te = 100 and below all experts' noise is below 0.33."""
RUNS: Mapping[str, tuple[str, ...]] = {
    "confiner_9": ("scheduler=confiner_9",),
    "confiner_9_unguided": ("scheduler=confiner_9", UNGUIDED),
    "confiner_18": ("scheduler=confiner_18",),
    "confiner_18_unguided": ("scheduler=confiner_18", UNGUIDED),
    "control_4": ("scheduler=confiner_9", "scheduler.refinement.num_inference_steps=0"),
    DIFFUSERS: ("scheduler=confiner_9", "scheduler.refinement.num_inference_steps=0"),
}


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

    def settings(self, setup: Setup) -> Settings:
        """As the command line would have them, checked; but for the models."""
        words = {
            "height": self.height, "width": self.width, "num_frames": self.num_frames,
            "device": setup.device, "dtype": setup.dtype, "memory": self.memory,
        }  # fmt: skip
        overrides = (
            f"experts={self.experts}",
            *self.overrides,
            *(f"{key}={value}" for key, value in words.items()),
        )
        settings = settings_of(compose(overrides))
        return resolved(
            replace(settings, prompt=PROMPT, seed=1, experts=setup.models.of(settings.experts))
        )


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

    @property
    def sampling(self) -> float | None:
        """Seconds of both stages together."""
        known = [self.stages[name] for name in ("structure", "refinement") if name in self.stages]
        return sum(known) if known else None


def measured(case: Case, setup: Setup) -> Row:
    """Make the case's video once, then a few times more. A failure is a row, too.

    Before the first time the networks are in the host's memory, as after reading them.
    """
    rest(setup.cache)
    settings, where = case.settings(setup), device_of(setup.device)
    precision = dtype_of(setup.dtype, where)
    memory = "none" if case.run == DIFFUSERS else memory_name(settings, where, precision)
    row = Row(case.experts, case.height, case.width, case.num_frames, case.run, memory)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    DECODED.clear()
    try:
        make = (
            with_diffusers(settings, setup.cache)
            if case.run == DIFFUSERS
            else functools.partial(with_confiner, settings, memory, setup.cache)
        )
        made = [make() for _ in range(1 + setup.repeats)]
        if set(DECODED) != {precision}:
            raise FailedError(
                f"frames were decoded in {', '.join(map(str, DECODED))}", f"dtype is {precision}"
            )
    except (torch.OutOfMemoryError, ConfinerError) as error:
        return replace(row, failure="out of memory" if _out_of_memory(error) else str(error))
    decoded = DECODED[precision] // len(made)
    known = (
        {} if setup.models.small else costs_of(settings, memory, precision, made[0].passes, decoded)
    )
    return replace(row, **_times(made), **_memory(where), decoded_frames=decoded, **known)


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
    steps = tuple(
        f"scheduler.{stage}.num_inference_steps=1" for stage in ("structure", "refinement")
    )
    smallest = replace(
        case, height=64, width=64, num_frames=1, overrides=("scheduler=confiner_9", *steps)
    )
    with_confiner(smallest.settings(setup), "low", setup.cache)


def memory_name(settings: Settings, device: torch.device, dtype: torch.dtype) -> str:
    """The memory setting that `auto` means, or the one that was chosen."""
    memory = memory_of(settings, free_memory(device), dtype.itemsize)
    return next(name for name, setting in POLICIES.items() if setting == memory)


def with_confiner(settings: Settings, memory: str, cache: NetworkCache) -> Made:
    """One run of the product, whole: a folder with both videos, the contact sheet and the record."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        started = time.perf_counter()
        video = run(replace(settings, memory=memory), Place(Path(folder)), {}, cache)
        seconds = time.perf_counter() - started
        facts = read_run(video.parent)
        file_size = _verified(video, settings)
    stages = {stage: value for stage, value in facts["seconds"].items() if stage != "total"}
    stages["files"] = max(0.0, facts["seconds"]["total"] - sum(stages.values()))
    return Made(seconds, stages, facts["evaluations"], facts["passes"], file_size)


def with_diffusers(settings: Settings, cache: NetworkCache) -> Callable[[], Made]:
    """AnimateDiffPipeline on the control expert's networks, four Euler steps, its frames written by our encoder."""
    pipeline: Any = None

    def make() -> Made:
        nonlocal pipeline
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
            started = time.perf_counter()
            pipeline = pipeline or animatediff(settings, cache)
            frames = pipeline(
                PROMPT, num_frames=settings.num_frames, height=settings.height,
                width=settings.width, num_inference_steps=4, guidance_scale=1.0,
                generator=torch.Generator().manual_seed(1), output_type="np",
            ).frames[0]  # fmt: skip
            pixels, path = torch.from_numpy(frames), Path(folder) / "video.mp4"
            size = (pixels.shape[1], pixels.shape[2])
            write_video(path, pixels.mul(255).round().to(torch.uint8), size, settings.fps or 8)
            seconds = time.perf_counter() - started
            file_size = _verified(path, settings)
        counts = {"control": 4, "spatial": 0, "temporal": 0}
        return Made(seconds, {}, counts, counts, file_size)

    return make


def animatediff(settings: Settings, cache: NetworkCache) -> Any:
    """Diffusers' pipeline around the networks that the control expert and the decoder have."""
    from diffusers.pipelines.animatediff.pipeline_animatediff import AnimateDiffPipeline
    from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

    device, control = device_of(settings.device), settings.expert("control")
    dtype, policy = dtype_of(settings.dtype, device), POLICIES["high"]
    expert: Any = load_expert("control", control, device, dtype, policy, cache)
    decoder = load_decoder(settings.expert("spatial"), device, dtype, policy, cache)
    scheduler = EulerDiscreteScheduler(
        beta_schedule=control.beta_schedule, beta_start=control.beta_start,
        beta_end=control.beta_end, timestep_spacing="trailing",
    )  # fmt: skip
    pipeline = AnimateDiffPipeline(
        vae=decoder.vae(),
        text_encoder=expert.text.encoder(),
        tokenizer=expert.text.tokenizer,
        unet=expert.network.unet(),
        motion_adapter=None,
        scheduler=scheduler,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _verified(video: Path, settings: Settings) -> int:
    """Bytes of a file that decodes to the frames that it should have."""
    verify(video, int(settings.length), settings.size)
    return video.stat().st_size


def _times(made: Iterable[Made]) -> dict[str, Any]:
    first, *others = made
    others = others or [first]
    stages = {
        name: statistics.median(each.stages[name] for each in others) for name in first.stages
    }
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
    settings: Settings, memory: str, dtype: torch.dtype, passes: Mapping[str, int], decoded: int
) -> dict[str, Any]:
    """Operations of so many passes and decoded frames, and the product's estimate of memory.

    The networks are published ones, whose costs are in the table.
    """
    size, table = (int(settings.length), *settings.size), costs()
    asked = {role: count for role, count in passes.items() if count}
    unets = [
        count * table[settings.expert(role).architecture or ""].flops(*size)
        for role, count in asked.items()
    ]
    return {
        "unet_flops": sum(unets),
        "vae_flops": decoded * table["sd15_vae"].flops(1, *size[1:]),
        "needed_bytes": needed(settings, memory, dtype.itemsize) if memory in POLICIES else None,
    }


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError):
            return True
        error = error.__cause__
    return False

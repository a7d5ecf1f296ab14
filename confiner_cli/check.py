"""Values checked before any weight is read: settings in, settings with every null resolved out, or a two-line error."""

from __future__ import annotations

import difflib
import math
import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.families import FAMILIES
from confiner_cli.experts.source import needs
from confiner_cli.knowledge import read_knowledge
from confiner_cli.prompts import verbatim
from confiner_cli.refinement import HOP_NOISE, PATTERNS, patterns
from confiner_cli.settings import (
    ALIGNMENTS,
    NOISE_KEYS,
    ROLES,
    SHUFFLES,
    ExpertSettings,
    LongVideoSettings,
    RefinementSettings,
    SchedulerSettings,
    Settings,
    StructureSettings,
)

PIXELS_PER_LATENT = 8
DTYPES = ("auto", "bf16", "fp16", "fp32", "bfloat16", "float16", "float32")
MEMORIES = ("auto", "high", "balanced", "low")
LARGEST_SEED = 2**63 - 1


def resolved(settings: Settings) -> Settings:
    """The settings with the prompt cleaned, the expert set's values for nulls, and a seed drawn if there is none.

    Raises:
        ConfinerError: a value that cannot be used, named with its key.
    """
    prompt, prompts = _schedule(settings)
    chosen = replace(
        settings,
        prompt=prompt,
        prompts=prompts,
        negative_prompt=verbatim(settings.negative_prompt, "negative_prompt", empty=True),
        seed=secrets.randbelow(2**32) if settings.seed is None else settings.seed,
        num_frames=_or(settings.num_frames, settings.experts.num_frames),
        height=_or(settings.height, settings.experts.height),
        width=_or(settings.width, settings.experts.width),
        fps=_or(settings.fps, settings.experts.fps),
    )
    _check_sizes(chosen)
    _one_of("dtype", chosen.dtype, DTYPES)
    _one_of("memory", chosen.memory, MEMORIES)
    if chosen.frame_batch is not None:
        _in_range("frame_batch", chosen.frame_batch, 1, math.inf)
    for role in ROLES:
        _check_expert(f"experts.{role}", chosen.experts.role(role))
    _check_scheduler(chosen)
    _check_latent_space(chosen)
    _check_places(chosen)
    return _with_segments(chosen)


def _schedule(settings: Settings) -> tuple[str, dict[int, str]]:
    """The prompt of the start, and those that take over later by frame, in order."""
    prompts = {frame: verbatim(text, f"prompts.{frame}") for frame, text in sorted(settings.prompts.items())}
    if prompts and min(prompts) < 0:
        raise ConfinerError(f"prompts has a frame {min(prompts)}", "frames are counted from 0")
    first = prompts.pop(0, settings.prompt)
    if settings.prompt and first != verbatim(settings.prompt):
        raise ConfinerError("prompt and prompts.0 are two prompts for frame 0", "leave one of them out")
    return verbatim(first), prompts


def used_roles(scheduler: SchedulerSettings) -> tuple[str, ...]:
    """The experts that a scheduler asks, control first."""
    return tuple(role for role in ROLES if role == scheduler.structure.expert or role in refining_roles(scheduler))


def refining_roles(scheduler: SchedulerSettings) -> tuple[str, ...]:
    """The experts that a scheduler's refinement may ask."""
    return ("spatial", "temporal") if scheduler.refinement.num_inference_steps else ()


def loaded_roles(scheduler: SchedulerSettings) -> tuple[str, ...]:
    """The roles of which something is loaded: those that are asked, and the spatial one, which brings the VAE."""
    return tuple(dict.fromkeys((*used_roles(scheduler), "spatial")))


def _or(chosen: float | None, native: float) -> Any:
    return native if chosen is None else chosen


def _check_sizes(settings: Settings) -> None:
    if not isinstance(settings.device, str):  # Python callers meet no schema
        raise ConfinerError(f"device={settings.device!r} is no name of a device", "device='cpu' or device='cuda'")
    for name in ("num_frames", "seed", "height", "width"):
        value = getattr(settings, name)
        if type(value) is not int and not (name == "num_frames" and value == math.inf):
            also = ", or inf: until Ctrl-C" if name == "num_frames" else ""
            raise ConfinerError(f"{name}={value!r} is not a whole number", f"{name}= takes a whole number{also}")
    if isinstance(settings.fps, bool) or not isinstance(settings.fps, (int, float)):
        raise ConfinerError(f"fps={settings.fps!r} is not a number", "fps= takes frames a second")
    if settings.num_frames != math.inf:
        _in_range("num_frames", settings.num_frames, 1, math.inf)
    late = [frame for frame in settings.prompts if frame >= settings.length]
    if late:
        raise ConfinerError(
            f"prompts.{late[0]} begins after the video's end, frame {settings.num_frames}",
            f"num_frames={late[0] + 1} or more",
        )
    _in_range("fps", settings.fps, 1, 240)
    _in_range("seed", settings.seed, 0, LARGEST_SEED)
    for name in ("height", "width"):
        value = getattr(settings, name)
        _in_range(name, value, PIXELS_PER_LATENT, 4096)
        if value % PIXELS_PER_LATENT:
            near = max(PIXELS_PER_LATENT, round(value / PIXELS_PER_LATENT) * PIXELS_PER_LATENT)
            raise ConfinerError(f"{name}={value} is not a multiple of {PIXELS_PER_LATENT}", f"{name}={near}")


def _with_segments(settings: Settings) -> Settings:
    """With the length of a segment: the whole video where the experts take it at once, else their own length."""
    long_video, scheduler = settings.long_video, settings.scheduler
    _check_long_video(long_video)
    limits = {role: settings.experts.role(role).max_frames for role in used_roles(scheduler)}
    at_once = min(limits.values())
    length = long_video.segment_frames
    if length is None and settings.length <= at_once:
        length = int(settings.length)
    elif length is None and long_video.name == "none":
        raise ConfinerError(
            f"num_frames={settings.num_frames} is more than {settings.experts.name} takes at once: {at_once}",
            f"add long_video=confiner_long, or num_frames={at_once} or less",
        )
    refined = min((limits[role] for role in limits if role in refining_roles(scheduler)), default=math.inf)
    most = min(limits.get(scheduler.structure.expert, math.inf), refined - long_video.window_overlap)
    if length is None:
        length = int(min(settings.experts.num_frames, most))
    one = settings.length <= length
    if length > (at_once if one else most):
        raise ConfinerError(
            f"long_video.segment_frames={length} with window_overlap={long_video.window_overlap} is more than "
            f"{settings.experts.name} takes at once",
            f"long_video.segment_frames={at_once if one else most} or less",
        )
    if not one and long_video.window_overlap > length // 2:
        raise ConfinerError(
            f"long_video.window_overlap={long_video.window_overlap} is more than half a segment of {length} frames",
            f"long_video.window_overlap={length // 2} or less",
        )
    return replace(settings, long_video=replace(long_video, segment_frames=length))


def _check_long_video(long_video: LongVideoSettings) -> None:
    if long_video.segment_frames is not None:
        _in_range("long_video.segment_frames", long_video.segment_frames, 1, math.inf)
    _in_range("long_video.consistency", long_video.consistency, 0, 1)
    _in_range("long_video.coherence", long_video.coherence, 0, 0.5)
    _in_range("long_video.window_overlap", long_video.window_overlap, 0, math.inf)
    _one_of("long_video.shuffle", long_video.shuffle, SHUFFLES)
    _one_of("long_video.align", long_video.align, ALIGNMENTS)
    _one_of("long_video.noise_by", long_video.noise_by, NOISE_KEYS)


def _check_latent_space(settings: Settings) -> None:
    spaces = {role: settings.experts.role(role).latent_space for role in loaded_roles(settings.scheduler)}
    others = [role for role, space in spaces.items() if space != spaces["spatial"]]
    if others:
        raise ConfinerError(
            f"experts.{others[0]} works in the latents of {spaces[others[0]]}, and experts.spatial, which brings the "
            f"VAE, in those of {spaces['spatial']}",
            "all experts of a set must share one latent space: choose others",
        )


def _check_places(settings: Settings) -> None:
    if settings.experts.knows is not None:
        read_knowledge(settings.experts.knows)
    for role in loaded_roles(settings.scheduler):
        for name, need in needs(role, settings.expert(role)):
            place = need.source.path
            if place is not None and not place.exists():
                raise ConfinerError(
                    f"experts.{role}.{name}: there is no {place.absolute()}",
                    "name a folder in diffusers' layout, a file, or owner/name[@revision] on the hub",
                )


def _check_expert(key: str, expert: ExpertSettings) -> None:
    _one_of(f"{key}.family", expert.family, FAMILIES)
    _one_of(f"{key}.beta_schedule", expert.beta_schedule, ("linear", "scaled_linear"))
    _one_of(f"{key}.prediction_type", expert.prediction_type, ("epsilon", "v_prediction", "sample"))
    _in_range(f"{key}.guidance_scale", expert.guidance_scale, 0, 100)
    _in_range(f"{key}.max_frames", expert.max_frames, 1, math.inf)
    _in_range(f"{key}.num_train_timesteps", expert.num_train_timesteps, 2, 100_000)
    if not 0 < expert.beta_start <= expert.beta_end < 1:
        raise ConfinerError(
            f"{key}.beta_start={expert.beta_start} and beta_end={expert.beta_end} are no noise schedule",
            "0 < beta_start <= beta_end < 1",
        )


def _check_scheduler(settings: Settings) -> None:
    scheduler = settings.scheduler
    _one_of("scheduler.structure.expert", scheduler.structure.expert, ROLES)
    last = min(settings.experts.role(role).num_train_timesteps for role in used_roles(scheduler)) - 1
    _check_structure(scheduler.structure, last)
    _check_distilled(scheduler.structure, settings.experts.role(scheduler.structure.expert))
    _check_refinement(scheduler.refinement, last)
    interval = scheduler.guidance_interval
    if len(interval) != 2 or not 0 <= interval[0] <= interval[1] <= 1:
        raise ConfinerError(
            f"scheduler.guidance_interval={interval} is not an interval of noise levels",
            "two numbers from 0 (clean) to 1 (noise): scheduler.guidance_interval=[0.35,1.0]",
        )


def _check_structure(structure: StructureSettings, last: int) -> None:
    key = "scheduler.structure"
    _in_range(f"{key}.num_inference_steps", structure.num_inference_steps, 1, last)
    _one_of(f"{key}.timestep_spacing", structure.timestep_spacing, ("trailing", "leading"))


def _check_distilled(structure: StructureSettings, expert: ExpertSettings) -> None:
    steps, made_for = structure.num_inference_steps, expert.distilled_steps
    if made_for and steps not in made_for:
        nearest = min(made_for, key=lambda count: abs(count - steps))
        raise ConfinerError(
            f"scheduler.structure.num_inference_steps={steps}: the {structure.expert} expert was distilled for "
            f"{', '.join(map(str, made_for))} steps only",
            f"scheduler.structure.num_inference_steps={nearest}",
        )


def _check_refinement(refinement: RefinementSettings, last: int) -> None:
    key = "scheduler.refinement"
    steps = refinement.num_inference_steps
    _in_range(f"{key}.num_inference_steps", steps, 0, last)
    if not steps:
        return
    _in_range(f"{key}.te", refinement.te, steps, last)
    _one_of(f"{key}.timestep_matching", refinement.timestep_matching, ("same", "snr"))
    hop_noise, pattern = refinement.hop_noise, refinement.pattern
    if isinstance(hop_noise, (int, float)) and not isinstance(hop_noise, bool):
        _in_range(f"{key}.hop_noise", hop_noise, 0, 1)
    else:
        _one_of(f"{key}.hop_noise", hop_noise, HOP_NOISE, "or a number from 0 to 1")
    names = patterns(pattern, steps) if isinstance(pattern, (str, list)) else [pattern]
    for name in names:
        _one_of(f"{key}.pattern", name, PATTERNS)
    if len(names) != steps:
        raise ConfinerError(
            f"{key}.pattern lists {len(names)} patterns for {steps} steps",
            "name one pattern for all steps, or one a step",
        )


def _in_range(key: str, value: Any, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        bounds = f"{low} or more" if high == math.inf else f"{low} to {high}"
        raise ConfinerError(f"{key}={value} is out of range", f"{key}= takes {bounds}")


def _one_of(key: str, value: Any, choices: Iterable[str], also: str = "") -> None:
    names = tuple(choices)
    if value not in names:
        near = did_you_mean(str(value), names)
        raise ConfinerError(f"{key}={value} is unknown", f"{near}{key}= takes {', '.join(names)} {also}")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`did you mean X? ` for the choice nearest to a mistyped word, or nothing."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"did you mean {near[0]}? " if near else ""

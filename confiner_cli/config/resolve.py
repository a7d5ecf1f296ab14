"""Values checked before any weight is read: settings in, settings with every null resolved out, or a two-line error."""

from __future__ import annotations

import math
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from confiner_cli.config.bounds import in_range, one_of
from confiner_cli.config.method_options import patterns
from confiner_cli.config.prompts import verbatim
from confiner_cli.config.roles import loaded_roles, used_roles
from confiner_cli.config.schema import (
    ROLES,
    ExpertSettings,
    RefinementSettings,
    Settings,
    StructureSettings,
)
from confiner_cli.config.segments import with_segments
from confiner_cli.config.vocabulary import read_knowledge
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.families import FAMILIES
from confiner_cli.files import sha256
from confiner_cli.media.source_video import footage_of
from confiner_cli.method.estimate import PREDICTION_TYPES
from confiner_cli.method.options import FRAME_NOISES
from confiner_cli.method.refinement import PATTERNS, RENOISE, TIMESTEP_MATCHINGS
from confiner_cli.method.schedule import BETA_SCHEDULES
from confiner_cli.method.structure import SPACINGS
from confiner_cli.weights.model_ref import needs

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
    settings = _with_footage(settings)
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
    one_of("dtype", chosen.dtype, DTYPES)
    one_of("memory", chosen.memory, MEMORIES)
    if chosen.frame_batch is not None:
        in_range("frame_batch", chosen.frame_batch, 1, math.inf)
    for role in ROLES:
        _check_expert(f"experts.{role}", chosen.experts.role(role))
    _check_scheduler(chosen)
    _check_latent_space(chosen)
    _check_places(chosen)
    return with_segments(chosen)


def _schedule(settings: Settings) -> tuple[str, dict[int, str]]:
    """The prompt of the start, and those that take over later by frame, in order."""
    strange = [frame for frame in settings.prompts if type(frame) is not int]
    if strange:
        raise ConfinerError(
            f"prompts has a key {strange[0]!r} that is no frame",
            'prompts={48: "a blue star rising"}',
        )
    prompts = {
        frame: verbatim(text, f"prompts.{frame}")
        for frame, text in sorted(settings.prompts.items())
    }
    if prompts and min(prompts) < 0:
        raise ConfinerError(f"prompts has a frame {min(prompts)}", "frames are counted from 0")
    first = prompts.pop(0, None)
    if first is None:
        return verbatim(settings.prompt), prompts
    if settings.prompt and verbatim(settings.prompt) != first:
        raise ConfinerError(
            "prompt and prompts.0 are two prompts for frame 0", "leave one of them out"
        )
    return first, prompts


def _with_footage(settings: Settings) -> Settings:
    """With the length and the rate of the video that is given, if one is and they are not set."""
    if settings.structure.video is None:
        return settings
    path = Path(settings.structure.video).expanduser().absolute()  # a record is read elsewhere, too
    footage = footage_of(path)
    if settings.num_frames is not None and settings.num_frames > footage.num_frames:
        raise ConfinerError(
            f"num_frames={settings.num_frames} is more than {footage.path} has: {footage.num_frames}",
            "leave num_frames= out to take all of it",
        )
    digest = sha256(path)
    if settings.structure.sha256 not in (None, digest):
        raise ConfinerError(
            f"{path} is not the video it was when its run began", "put the old file back"
        )
    return replace(
        settings,
        structure=replace(settings.structure, video=str(path), sha256=digest),
        num_frames=_or(settings.num_frames, footage.num_frames),
        fps=_or(settings.fps, int(footage.fps) if footage.fps == int(footage.fps) else footage.fps),
    )


def _or(chosen: float | None, native: float) -> Any:
    return native if chosen is None else chosen


def _check_sizes(settings: Settings) -> None:
    if not isinstance(settings.device, str):  # Python callers meet no schema
        raise ConfinerError(
            f"device={settings.device!r} is no name of a device", "device='cpu' or device='cuda'"
        )
    for name in ("num_frames", "seed", "height", "width"):
        value = getattr(settings, name)
        if type(value) is not int and not (name == "num_frames" and value == math.inf):
            also = ", or inf: until Ctrl-C" if name == "num_frames" else ""
            raise ConfinerError(
                f"{name}={value!r} is not a whole number", f"{name}= takes a whole number{also}"
            )
    if isinstance(settings.fps, bool) or not isinstance(settings.fps, (int, float)):
        raise ConfinerError(f"fps={settings.fps!r} is not a number", "fps= takes frames a second")
    if settings.num_frames != math.inf:
        in_range("num_frames", settings.num_frames, 1, math.inf)
    late = [frame for frame in settings.prompts if frame >= settings.length]
    if late:
        raise ConfinerError(
            f"the prompt at {late[0]} begins after the video's end, frame {settings.num_frames}",
            f"num_frames={late[0] + 1} or more",
        )
    in_range("fps", settings.fps, 1, 240)
    in_range("seed", settings.seed, 0, LARGEST_SEED)
    for name in ("height", "width"):
        value = getattr(settings, name)
        in_range(name, value, PIXELS_PER_LATENT, 4096)
        if value % PIXELS_PER_LATENT:
            near = max(PIXELS_PER_LATENT, round(value / PIXELS_PER_LATENT) * PIXELS_PER_LATENT)
            raise ConfinerError(
                f"{name}={value} is not a multiple of {PIXELS_PER_LATENT}", f"{name}={near}"
            )


def _check_latent_space(settings: Settings) -> None:
    spaces = {role: settings.experts.role(role).latent_space for role in loaded_roles(settings)}
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
    for role in loaded_roles(settings):
        for name, need in needs(role, settings.expert(role)):
            place = need.source.path
            if place is not None and not place.exists():
                raise ConfinerError(
                    f"experts.{role}.{name}: there is no {place.absolute()}",
                    "name a folder in diffusers' layout, a file, or owner/name[@revision] on the hub",
                )


def _check_expert(key: str, expert: ExpertSettings) -> None:
    one_of(f"{key}.family", expert.family, FAMILIES)
    one_of(f"{key}.beta_schedule", expert.beta_schedule, BETA_SCHEDULES)
    one_of(f"{key}.prediction_type", expert.prediction_type, PREDICTION_TYPES)
    in_range(f"{key}.guidance_scale", expert.guidance_scale, 0, 100)
    in_range(f"{key}.max_frames", expert.max_frames, 1, math.inf)
    in_range(f"{key}.num_train_timesteps", expert.num_train_timesteps, 2, 100_000)
    if not 0 < expert.beta_start <= expert.beta_end < 1:
        raise ConfinerError(
            f"{key}.beta_start={expert.beta_start} and beta_end={expert.beta_end} are no noise schedule",
            "0 < beta_start <= beta_end < 1",
        )


def _check_scheduler(settings: Settings) -> None:
    scheduler = settings.scheduler
    if not used_roles(settings):
        raise ConfinerError(
            f"scheduler={scheduler.name} has no refinement, and structure.video= leaves out all else",
            "scheduler=confiner_9",
        )
    one_of("scheduler.structure.expert", scheduler.structure.expert, ROLES)
    last = min(settings.experts.role(role).num_train_timesteps for role in used_roles(settings)) - 1
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
    in_range(f"{key}.num_inference_steps", structure.num_inference_steps, 1, last)
    one_of(f"{key}.timestep_spacing", structure.timestep_spacing, SPACINGS)


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
    in_range(f"{key}.num_inference_steps", steps, 0, last)
    if not steps:
        return
    in_range(f"{key}.te", refinement.te, steps, last)
    one_of(f"{key}.timestep_matching", refinement.timestep_matching, TIMESTEP_MATCHINGS)
    one_of(f"{key}.frame_noise", refinement.frame_noise, FRAME_NOISES)
    hop_noise, pattern = refinement.hop_noise, refinement.pattern
    if isinstance(hop_noise, (int, float)) and not isinstance(hop_noise, bool):
        in_range(f"{key}.hop_noise", hop_noise, 0, 1)
    else:
        one_of(f"{key}.hop_noise", hop_noise, RENOISE, "or a number from 0 to 1")
    names = patterns(pattern, steps) if isinstance(pattern, (str, list)) else (pattern,)
    for name in names:
        one_of(f"{key}.pattern", name, PATTERNS)
    if len(names) != steps:
        raise ConfinerError(
            f"{key}.pattern lists {len(names)} patterns for {steps} steps",
            "name one pattern for all steps, or one a step",
        )

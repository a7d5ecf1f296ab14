"""From what was asked for to what is decided, before any weight is read: a `Job` of `Settings`.

The only place that fills in what a person has left open, and that refuses what they cannot have.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from confiner_cli.config.bounds import FPS, in_range, one_of
from confiner_cli.config.experts import (
    STRUCTURES,
    check_experts,
    checked_places,
    with_absolute_places,
)
from confiner_cli.config.given_video import with_sound, with_source_video
from confiner_cli.config.job import Job, roles_in_order
from confiner_cli.config.prompts import verbatim
from confiner_cli.config.scheduler import (
    guidance_of,
    refining_roles,
    scheduler_options,
    structure_roles,
)
from confiner_cli.config.schema import EXECUTORS, HERE, Settings
from confiner_cli.config.segments import long_video_options, with_segments
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.compiling import MODES
from confiner_cli.experts.device import DTYPES
from confiner_cli.experts.offload import POLICIES
from confiner_cli.media.formats import FORMATS, check_rate
from confiner_cli.media.sound import SOUND_CHOICES

SMALLEST_SIDE, LARGEST_SIDE = 8, 4096
"""Of a video, in pixels."""
LARGEST_SEED = 2**64 - 1
MOST_THREADS = 1024
"""More than machines have CPUs. Of many more the system may refuse one, which ends the process."""
MOST_WORKERS = 4096
Number = TypeVar("Number", int, float)


def resolve(settings: Settings) -> Job:
    """Decide all that is left open: the experts' own sizes, a seed, the length of a segment.

    A prompt may be missing: a plan, or experts that are loaded, need none. `require_prompt` is for
    those who do.

    Raises:
        ConfinerError: a value that cannot be used, named with its key.
    """
    if settings.seeds:
        raise ConfinerError("seeds= is what batch= makes of a sweep's", "-m seed=1,2,3,4 batch=4")
    settings = _with_prompts(settings)
    # Before sizes and lengths: a video that is given decides some of them.
    settings, source_videos = with_source_video(settings)
    seed = secrets.randbelow(2**32) if settings.seed is None else settings.seed
    video, keys = _video_of(settings), _keys_of(settings)
    settings = replace(settings, seed=seed, **asdict(video))
    _check_values(settings, video, keys)
    check_experts(settings.experts)
    settings = replace(settings, experts=with_absolute_places(settings.experts))
    structure, refinement = scheduler_options(settings)
    asked = roles_in_order(structure_roles(settings) | refining_roles(settings))
    _check_multiples(settings, video, keys)
    experts = checked_places(settings, asked)
    # After all else: how much fits into a segment depends on who is asked.
    settings, timeline = with_segments(settings, video.num_frames)
    settings, sound, losses = with_sound(settings, source_videos, video.num_frames, video.fps)
    sampled = (timeline.length, video.height, video.width)
    experts = {role: expert.for_frames(*sampled) for role, expert in experts.items()}
    return Job(
        settings=settings,
        prompts={0: settings.prompt, **settings.prompts},
        negative_prompt=settings.negative_prompt,
        seed=seed,
        size=(video.height, video.width),
        fps=video.fps,
        experts=experts,
        asked=asked,
        guidance={role: guidance_of(settings.scheduler, experts[role]) for role in asked},
        structure=structure,
        refinement=refinement,
        long_video=long_video_options(settings.long_video),
        timeline=timeline,
        source_videos=source_videos,
        sound=sound,
        losses=losses,
    )


def require_prompt(settings: Settings) -> Settings:
    """These settings, where they have a prompt for the video's start.

    Raises:
        ConfinerError: they have none.
    """
    if 0 not in settings.prompts:
        verbatim(settings.prompt)
    return settings


def _with_prompts(settings: Settings) -> Settings:
    """With the prompt of the start in `prompt`, and those that take over later in order."""
    later = _later_prompts(settings.prompts)
    first = later.pop(0, None)
    prompt = verbatim(settings.prompt, empty=True)
    if first is not None:
        if prompt and prompt != first:
            raise ConfinerError(
                "prompt and prompts.0 are two prompts for frame 0", "leave one of them out"
            )
        prompt = first
    negative_prompt = verbatim(settings.negative_prompt, "negative_prompt", empty=True)
    return replace(settings, prompt=prompt, prompts=later, negative_prompt=negative_prompt)


def _later_prompts(prompts: Mapping[Any, str]) -> dict[int, str]:
    for frame in prompts:
        if type(frame) is not int:
            raise ConfinerError(
                f"prompts has a key {frame!r} that is no frame",
                'prompts={48: "a blue star rising"}',
            )
        if frame < 0:
            raise ConfinerError(f"prompts has a frame {frame}", "frames are counted from 0")
    return {frame: verbatim(text, f"prompts.{frame}") for frame, text in sorted(prompts.items())}


@dataclass(frozen=True)
class _Video:
    """What is made: frames, their size in pixels, and how many a second."""

    num_frames: float
    height: int
    width: int
    fps: float


def _video_of(settings: Settings) -> _Video:
    """What is asked for, with the expert set's own values in the place of nulls."""
    own = settings.experts
    return _Video(
        num_frames=_or(settings.num_frames, own.num_frames),
        height=_or(settings.height, own.height),
        width=_or(settings.width, own.width),
        fps=_or(settings.fps, own.fps),
    )


def _keys_of(settings: Settings) -> dict[str, str]:
    """The settings that say what `_Video` has: the expert set's own where a person's are null."""
    names = ("num_frames", "height", "width", "fps")
    own = {name for name in names if getattr(settings, name) is None}
    return {name: f"experts.{name}" if name in own else name for name in names}


def _or(chosen: Number | None, own: Number) -> Number:
    return own if chosen is None else chosen


def _check_values(settings: Settings, video: _Video, keys: Mapping[str, str]) -> None:
    """All that is neither the experts', the scheduler's nor the long video's."""
    _check_types(settings, video, keys)
    if video.num_frames != math.inf:
        in_range(keys["num_frames"], video.num_frames, 1, math.inf)
    in_range(keys["fps"], video.fps, *FPS)
    in_range("seed", settings.seed, 0, LARGEST_SEED)
    in_range(keys["height"], video.height, SMALLEST_SIDE, LARGEST_SIDE)
    in_range(keys["width"], video.width, SMALLEST_SIDE, LARGEST_SIDE)
    _check_prompts(settings, video.num_frames)
    one_of("output.format", settings.output.format, FORMATS)
    one_of("output.audio", settings.output.audio, SOUND_CHOICES)
    if settings.output.structure is not False:
        one_of("output.structure", settings.output.structure, STRUCTURES, "or false")
    check_rate(FORMATS[settings.output.format], video.fps)
    one_of("dtype", settings.dtype, ("auto", *DTYPES))
    one_of("memory", settings.memory, ("auto", *POLICIES))
    _check_compile(settings.compile)
    if settings.frame_batch is not None:
        in_range("frame_batch", settings.frame_batch, 1, math.inf)
    _check_threads(settings.threads)
    _check_workers(settings, video.num_frames)


def _check_threads(threads: Any) -> None:
    cure = f"threads= takes auto, or 1 to {MOST_THREADS}"
    if threads == "auto":
        return
    if type(threads) is not int:
        raise ConfinerError(f"threads={threads!r} is no number of threads", cure)
    if not 1 <= threads <= MOST_THREADS:
        raise ConfinerError(f"threads={threads} is out of range", cure)


def _check_workers(settings: Settings, num_frames: float) -> None:
    one_of("executor", settings.executor, EXECUTORS)
    if settings.workers is not None:
        if type(settings.workers) is not int:
            raise ConfinerError(
                f"workers={settings.workers!r} is not a whole number",
                "workers= takes a whole number; leave it out for as many as there is room for",
            )
        in_range("workers", settings.workers, 1, MOST_WORKERS)
        if settings.executor == HERE:
            raise ConfinerError(
                f"workers={settings.workers} has no meaning in one process",
                "executor=processes, or executor=ray, or leave workers= out",
            )
    if settings.executor != HERE and num_frames == math.inf:
        raise ConfinerError(
            f"executor={settings.executor} makes no video without an end",
            "num_frames= takes a number here; or leave executor= out",
        )


def _check_compile(value: object) -> None:
    if value not in MODES or type(value) not in (bool, str):  # 1 is no True here
        words = "false, true, regional"
        raise ConfinerError(f"compile={value} is unknown", f"compile= takes {words}")


def _check_prompts(settings: Settings, num_frames: float) -> None:
    for frame in settings.prompts:
        if frame >= num_frames:
            cure = f"num_frames={frame + 1} or more"
            if settings.structure.video is not None:  # which cannot be made longer
                cure = f"at= takes a frame before {num_frames}"
            raise ConfinerError(
                f"the prompt at {frame} begins after the video's end, frame {num_frames}", cure
            )


def _check_types(settings: Settings, video: _Video, keys: Mapping[str, str]) -> None:
    """What the schema holds those to who come from a config, and nobody those from Python."""
    if not isinstance(settings.device, str):
        raise ConfinerError(
            f"device={settings.device!r} is no name of a device", "device='cpu' or device='cuda'"
        )
    whole: dict[str, object] = {"seed": settings.seed, "height": video.height, "width": video.width}
    if video.num_frames != math.inf:
        whole = {"num_frames": video.num_frames, **whole}
    if settings.frame_batch is not None:
        whole["frame_batch"] = settings.frame_batch
    for name, value in whole.items():
        if type(value) is not int:
            key, also = keys.get(name, name), ", or inf: until Ctrl-C"
            raise ConfinerError(
                f"{key}={value!r} is not a whole number",
                f"{key}= takes a whole number{also if name == 'num_frames' else ''}",
            )
    if isinstance(video.fps, bool) or not isinstance(video.fps, (int, float)):
        raise ConfinerError(f"fps={video.fps!r} is not a number", "fps= takes frames a second")


def _check_multiples(settings: Settings, video: _Video, keys: Mapping[str, str]) -> None:
    """Hold sizes against the latents, and the patches of latents, of the experts that are asked."""
    asked = structure_roles(settings) | refining_roles(settings)
    multiple = math.lcm(*(settings.experts.role(role).space.multiple for role in asked))
    for name, value in (("height", video.height), ("width", video.width)):
        if value % multiple:
            near = max(multiple, round(value / multiple) * multiple)
            raise ConfinerError(
                f"{keys[name]}={value} is not a multiple of {multiple}", f"{keys[name]}={near}"
            )

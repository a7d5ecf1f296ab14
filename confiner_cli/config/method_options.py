"""What the method is told: its options, of settings that are resolved."""

from __future__ import annotations

from confiner_cli.config.schema import Settings
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.method.options import (
    GuidanceOptions,
    LongVideoOptions,
    RefinementOptions,
    StructureOptions,
)
from confiner_cli.method.refinement import RENOISE


def timeline_of(settings: Settings) -> Timeline:
    """Where the structures and windows of a run lie."""
    long_video = settings.long_video
    assert long_video.segment_frames is not None and long_video.window_overlap is not None
    overlap = 0 if settings.length <= long_video.segment_frames else long_video.window_overlap
    return Timeline(settings.length, long_video.segment_frames, overlap, long_video.staggered)


def structure_options(settings: Settings) -> StructureOptions:
    """How structures are sampled."""
    asked = settings.scheduler.structure
    return StructureOptions(asked.expert, asked.num_inference_steps, asked.timestep_spacing)


def refinement_options(settings: Settings) -> RefinementOptions:
    """How windows are refined."""
    asked = settings.scheduler.refinement
    if not asked.num_inference_steps:
        return RefinementOptions(patterns=())
    return RefinementOptions(
        patterns=patterns(asked.pattern, asked.num_inference_steps),
        te=float(asked.te),
        renoise=RENOISE.get(asked.hop_noise, asked.hop_noise),
        timestep_matching=asked.timestep_matching,
        frame_noise=asked.frame_noise,
    )


def patterns(pattern: str | list[str], steps: int) -> tuple[str, ...]:
    """One pattern's name for each step: a single one is used for all."""
    return (pattern,) * steps if isinstance(pattern, str) else tuple(pattern)


def guidance_options(settings: Settings, role: str) -> GuidanceOptions:
    """How an expert is guided."""
    low, high = settings.scheduler.guidance_interval
    return GuidanceOptions(settings.expert(role).guidance_scale, low, high)


def long_video_options(settings: Settings) -> LongVideoOptions:
    """How segments follow each other."""
    asked = settings.long_video
    return LongVideoOptions(
        consistency=asked.consistency,
        shuffle=asked.shuffle,
        coherence=asked.coherence,
        align=asked.align,
        noise_by=asked.noise_by,
        turn=bool(asked.turn),
    )

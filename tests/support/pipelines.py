"""The method with toy experts: pipelines of a few small latents, and all that they make."""

from dataclasses import replace

import torch
from support.toy_experts import Networked

from confiner_cli.method.long.timeline import Timeline
from confiner_cli.method.options import LongVideoOptions, RefinementOptions, StructureOptions
from confiner_cli.method.pipeline import Pipeline, refined, structures
from confiner_cli.method.schedule import linear, scaled_linear
from confiner_cli.runs.meter import Meter

SCHEDULES = {"control": linear(0.00085, 0.012), "spatial": scaled_linear(), "temporal": linear()}


def toy_experts():
    """One expert a role, each with a schedule of its own, the temporal one with other opinions."""
    experts = {role: Networked(own, "v_prediction") for role, own in SCHEDULES.items()}
    experts["temporal"] = replace(experts["temporal"], network=lambda x, t: torch.sin(x))
    return experts


def pipeline_of(
    structure=None,
    refinement=None,
    long_video=None,
    seeds=(7,),
    num_frames=3,
    segment_frames=16,
    overlap=0,
    **denoisers,
):
    """A pipeline of toy experts; the paper's nine steps unless told."""
    experts = toy_experts() | denoisers
    return Pipeline(
        denoisers={role: {0: denoiser} for role, denoiser in experts.items()},
        structure=structure or StructureOptions(),
        refinement=refinement or RefinementOptions(),
        timeline=Timeline(num_frames, segment_frames, overlap),
        shape=(4, 8, 8),
        seeds=seeds,
        long_video=long_video or LongVideoOptions(),
    )


def plain(stage, steps, total):
    """A watch that looks away."""
    return steps


def latents(pipeline, meter=None):
    """All of the refined video."""
    meter = meter or Meter()

    def watch(stage, steps, total):
        return meter.watch(stage, steps)

    return torch.cat(list(refined(pipeline, structures(pipeline, watch), watch)), dim=2)

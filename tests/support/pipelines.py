"""The method with toy experts: plans of a few small latents, and all that they make."""

from dataclasses import replace

import torch
from support.toy_experts import Networked

from confiner_cli.config.schema import ROLES, LongVideoSettings, SchedulerSettings
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.method.pipeline import Plan, refined, structures
from confiner_cli.method.schedule import linear, scaled_linear
from confiner_cli.runs.meter import Meter

SCHEDULES = {"control": linear(0.00085, 0.012), "spatial": scaled_linear(), "temporal": linear()}
CONFINER_9 = SchedulerSettings(name="confiner_9")


def plan_of(
    scheduler=CONFINER_9,
    seed=7,
    num_frames=3,
    segment_frames=16,
    overlap=0,
    long_video=None,
    **denoisers,
):
    experts = {role: Networked(SCHEDULES[role], "v_prediction") for role in ROLES}
    experts["temporal"] = replace(experts["temporal"], network=lambda x, t: torch.sin(x))
    return Plan(
        denoisers={role: {0: denoiser} for role, denoiser in (experts | denoisers).items()},
        scheduler=scheduler,
        timeline=Timeline(num_frames, segment_frames, overlap),
        shape=(4, 8, 8),
        seed=seed,
        long_video=LongVideoSettings(**long_video or {}),
    )


def plain(stage, steps, total):
    return steps


def latents(plan, meter=None):
    """All of the refined video."""
    meter = meter or Meter()

    def watch(stage, steps, total):
        return meter.watch(stage, steps)

    return torch.cat(list(refined(plan, structures(plan, watch), watch)), dim=2)

"""The rows of the tables: a name, and how confiner is overridden to make it."""

from __future__ import annotations

PATTERNS = ("spatial_only", "temporal_only", "naive", "coordinated", "two_visits", "interleaved")
UNGUIDED_REFINEMENT = "scheduler.guidance_interval=[0.5,1.0]"

EXPERTS: dict[str, tuple[str, ...]] = {
    "control_4": ("scheduler.refinement.num_inference_steps=0",),
    "control_4_guided": ("scheduler.refinement.num_inference_steps=0", "experts.control.guidance_scale=1.5"),
    "spatial_50": ("scheduler=spatial_alone",),
    "temporal_50": ("scheduler=temporal_alone",),
    "confiner_9": ("scheduler=confiner_9",),
    "confiner_18": ("scheduler=confiner_18",),
    "structure": ("scheduler.refinement.num_inference_steps=0", UNGUIDED_REFINEMENT),
}
REFINEMENTS: dict[str, tuple[str, ...]] = {
    name: (f"scheduler.refinement.pattern={name}", "scheduler.refinement.te=100", UNGUIDED_REFINEMENT)
    for name in PATTERNS
}
ROWS: dict[str, tuple[str, ...]] = EXPERTS | REFINEMENTS
"""By name; `structure` is what every refinement of the patterns below it starts from."""

FLOOR = ("renders", "reconstructions")
"""Rows without an expert: what the judge and the metrics say of renders, and of renders after the VAE."""

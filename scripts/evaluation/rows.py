"""The rows of the tables as data: a name, and how confiner is overridden to make it."""

from __future__ import annotations

Overrides = tuple[str, ...]

UNGUIDED = "scheduler.guidance_interval=[0.95,1.0]"
"""No guidance in the refinement.

The spatial expert is the only guided one. At Te = 500, the highest here, it meets noise of 0.85.
"""
GUIDED = "scheduler.guidance_interval=[0.0,1.0]"
NO_REFINEMENT = "scheduler.refinement.num_inference_steps=0"
ALONE_STEPS = (10, 20, 50, 100)
STEADY = "temporal_first_2_shared_noise"
"""What the preset `steady` does, but without guidance, as the rows of `PATTERNS`."""
TES = (50, 100, 200, 300, 400, 500)


def _alone(expert: str, steps: int, *more: str) -> Overrides:
    """One expert from noise to clean in DDIM steps."""
    chosen = (
        f"scheduler.structure.expert={expert}",
        f"scheduler.structure.num_inference_steps={steps}",
    )
    return ("scheduler=temporal_alone", *chosen, *more)


def _refined(
    pattern: str,
    *more: str,
    steps: int = 5,
    te: int = 100,
    control_steps: int = 4,
    guidance: str = UNGUIDED,
) -> Overrides:
    """A structure, refined in uniform steps from Te; without guidance, unless it is told."""
    return (
        "scheduler=confiner_9",
        f"scheduler.structure.num_inference_steps={control_steps}",
        f"scheduler.refinement.num_inference_steps={steps}",
        f"scheduler.refinement.te={te}",
        f"scheduler.refinement.pattern={pattern}",
        guidance,
        *more,
    )


def te_row(row: str, te: int, control_steps: int) -> str:
    """The name of a row with another Te or another structure; its own where it has them itself."""
    return row if (te, control_steps) == (100, 4) else f"{row}_te_{te}_of_{control_steps}"


def _hop(noise: str) -> str:
    return f"scheduler.refinement.hop_noise={noise}"


_SNR = "scheduler.refinement.timestep_matching=snr"
_SHARED = "scheduler.refinement.frame_noise=shared"
_SPATIAL_1 = "experts.spatial.guidance_scale=1"
_PRESET = "scheduler=confiner_9"

PRESETS: dict[str, Overrides] = {
    name: (f"scheduler={name}",) for name in ("confiner_9", "confiner_18", "steady")
}
ALONE: dict[str, Overrides] = {
    "control_4": (_PRESET, NO_REFINEMENT),
    "control_8": (_PRESET, NO_REFINEMENT, "scheduler.structure.num_inference_steps=8"),
    **{
        f"{expert}_{steps}": _alone(expert, steps)
        for expert in ("control", "temporal", "spatial")
        for steps in ALONE_STEPS
    },
    **{f"spatial_{steps}_unguided": _alone("spatial", steps, _SPATIAL_1) for steps in (50, 100)},
}
PATTERNS: dict[str, Overrides] = {
    name: _refined(name)
    for name in (
        "coordinated", "spatial_only", "temporal_only", "naive", "two_visits", "interleaved",
        "averaged", "slow_from_temporal", "slow_from_spatial",
    )
}  # fmt: skip
CHEAPER: dict[str, Overrides] = {
    **{f"coordinated_{steps}": _refined("coordinated", steps=steps) for steps in (3, 2)},
    **{f"two_visits_{steps}": _refined("two_visits", steps=steps) for steps in (3, 2, 1)},
    "coordinated_first": _refined("[coordinated,standard,standard,standard,standard]"),
    "coordinated_last": _refined("[standard,standard,standard,standard,coordinated]"),
    "spatial_then_temporal": _refined(
        "[standard,standard,temporal_only,temporal_only,temporal_only]"
    ),
    "spatial_shared_noise": _refined("spatial_only", _SHARED),
    "coordinated_shared_noise": _refined("coordinated", _SHARED),
    "two_visits_3_shared_noise": _refined("two_visits", _SHARED, steps=3),
    "temporal_first_3": _refined("temporal_first", steps=3),
    **{
        f"temporal_first_{steps}_shared_noise": _refined("temporal_first", _SHARED, steps=steps)
        for steps in (3, 2, 1)
    },
}
TE: dict[str, Overrides] = {
    te_row(name, te, control): _refined(pattern, *more, te=te, steps=steps, control_steps=control)
    for name, pattern, more, steps, controls in (
        ("coordinated", "coordinated", (), 5, (4, 8)),
        ("two_visits_3", "two_visits", (), 3, (4,)),
        (STEADY, "temporal_first", (_SHARED,), 2, (4,)),
    )
    for control in controls
    for te in TES
    if te_row(name, te, control) != name
}
HOPS: dict[str, Overrides] = {
    "coordinated_hop_0.5": _refined("coordinated", _hop("0.5")),
    "coordinated_predicted": _refined("coordinated", _hop("predicted")),
    "two_visits_3_predicted": _refined("two_visits", _hop("predicted"), steps=3),
    "coordinated_snr": _refined("coordinated", _SNR),
    "two_visits_3_snr": _refined("two_visits", _SNR, steps=3),
    "coordinated_te_300_snr": _refined("coordinated", _SNR, te=300),
}
GUIDANCE: dict[str, Overrides] = {
    "confiner_9_spatial_1.5": (_PRESET, "experts.spatial.guidance_scale=1.5"),
    "confiner_9_spatial_4": (_PRESET, "experts.spatial.guidance_scale=4"),
    "confiner_9_above_0.25": (_PRESET, "scheduler.guidance_interval=[0.25,1.0]"),
    "confiner_9_temporal_1.5": (_PRESET, "experts.temporal.guidance_scale=1.5"),
    "confiner_9_control_2": (_PRESET, "experts.control.guidance_scale=2"),
    **{
        f"two_visits_{steps}_guided": _refined("two_visits", steps=steps, guidance=GUIDED)
        for steps in (3, 2)
    },
    "temporal_first_3_shared_noise_guided": _refined(
        "temporal_first", _SHARED, steps=3, guidance=GUIDED
    ),
}

ROWS: dict[str, Overrides] = ALONE | PRESETS | PATTERNS | CHEAPER | TE | HOPS | GUIDANCE
"""By name. `control_4` is the structure that the refinements start from."""

HELD_OUT = (
    "renders",
    "control_4",
    "spatial_20",
    "temporal_20",
    "confiner_9",
    "coordinated",
    "two_visits_3",
    "steady",
)
"""The rows that are asked for what no training saw."""

FLOOR = ("renders", "reconstructions")
"""Rows without an expert: renders, and renders after the VAE."""

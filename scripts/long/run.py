"""The loop: every row makes a video of every prompt and seed, which is measured and kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from torch import Tensor

from evaluation.lines import Lines
from evaluation.prompts import Prompt
from evaluation.results import KEY, ROLES
from evaluation.run import Task, seed_of
from long.makers import Source
from long.metrics import (
    drift,
    features_of,
    judged,
    motion_segments,
    movement,
    repetition,
    right_frames,
    subject_consistency,
)
from long.seams import Seams, feature_changes, pixel_changes, ratios
from long.sheets import keep
from world.render import FRAMES

PIXEL_FLOOR = 0.5 / 255
"""Half a level of 0-255: a smaller mean change is not seen."""
FEATURE_FLOOR = 0.4
"""What the judge's features change by between frames of a generated video that stands still."""
SPACES = ("pixels", "features")

METRICS = (
    *(f"{name}_{space}" for space in SPACES
      for name in ("change", "structure_seam", "seam_near", "window_seam", "window_seam_largest")),
    "shape_frames", "colour_frames", "background_frames", "looks_frames", "subject_consistency",
    "motion_segments", "drift_brightness", "drift_contrast", "drift_sharpness", "drift_hue",
    "repetition", "repetition_mean", "movement", "resizing",
)  # fmt: skip
COSTS = (
    "seconds_per_frame", "passes_per_segment",
    *(f"{kind}_{role}" for kind in ("evaluations", "passes") for role in ROLES),
)  # fmt: skip
COLUMNS = ("row", "made_with", "prompt", "seed", "motion", *METRICS, *COSTS)


def tasks(rows: Iterable[tuple[str, str]], prompts: Sequence[Prompt], seeds: int) -> list[Task]:
    """All that is to be made, row by row; rows are names with `makers.made_with`."""
    return [
        Task(row, made_with, prompt, seed_of(prompt, repetition))
        for row, made_with in rows
        for repetition in range(seeds)
        for prompt in prompts
    ]


def evaluate(
    sources: Callable[[str], Source], todo: Sequence[Task], results: Lines, folder: Path
) -> None:
    """Make, measure and keep what is not in the results yet; the frames at seams go into `folder`.

    `sources` gets a row ready, when its turn comes.
    """
    missing = [task for task in todo if task.key not in results.lines]
    ready: tuple[str, Source] | None = None
    for number, task in enumerate(missing, start=len(todo) - len(missing) + 1):
        if ready is None or ready[0] != task.row:
            ready = (task.row, sources(task.row))
        started = monotonic()
        made = ready[1].make(task.prompt, task.seed)
        seconds, length = monotonic() - started, len(made.clip)
        costs: dict[str, Any] = {
            "seconds_per_frame": seconds / length,
            "passes_per_segment": sum(made.passes.values()) * FRAMES / length,
        }
        costs |= {f"evaluations_{role}": made.evaluations.get(role, 0) for role in ROLES}
        costs |= {f"passes_{role}": made.passes.get(role, 0) for role in ROLES}
        keep(folder, task.row, task.prompt, task.seed, made.clip)
        named = dict(zip(KEY, task.key, strict=True)) | {"motion": task.prompt.scene.motion}
        results.add(named | costs | measured(made.clip, task.prompt, ready[1].seams))
        print(f"{number}/{len(todo)} {task.row} · {seconds:.0f} s", file=sys.stderr, flush=True)


def measured(clip: Tensor, prompt: Prompt, seams: Seams) -> dict[str, float]:
    """The columns `METRICS` of a video `(frame, 3, size, size)` in [0, 1]."""
    verdicts = judged(clip)
    found: dict[str, float] = {}
    changes = {"pixels": pixel_changes(clip), "features": feature_changes(features_of(verdicts))}
    for space, floor in zip(SPACES, (PIXEL_FLOOR, FEATURE_FLOOR), strict=True):
        scale = 255 if space == "pixels" else 1
        found[f"change_{space}"] = scale * float(changes[space].median())
        found |= {
            f"{name}_{space}": value for name, value in ratios(changes[space], seams, floor).items()
        }
    return {
        **found,
        **right_frames(verdicts, prompt.scene),
        "subject_consistency": subject_consistency(verdicts),
        "motion_segments": motion_segments(verdicts, prompt.scene),
        **drift(clip),
        **repetition(clip),
        **movement(verdicts),
    }

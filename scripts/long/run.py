"""The loop: every row makes a video of every prompt and seed, which is measured and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from evaluation.lines import Lines
from evaluation.prompts import Prompt
from evaluation.results import COSTS
from evaluation.tasks import Task, make_missing, tasks
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

CHANGES = ("change", "structure_seam", "seam_near", "window_seam", "window_seam_largest")
METRICS = (
    *(f"{name}_{space}" for space in SPACES for name in CHANGES),
    "shape_frames", "colour_frames", "background_frames", "looks_frames", "subject_consistency",
    "motion_segments", "drift_brightness", "drift_contrast", "drift_sharpness", "drift_hue",
    "repetition", "repetition_mean", "movement", "resizing",
)  # fmt: skip
RATES = ("seconds_per_frame", "passes_per_segment")
COLUMNS = ("row", "made_with", "prompt", "seed", "motion", *METRICS, *RATES, *COSTS)


def row_by_row(rows: Mapping[str, str], prompts: Sequence[Prompt], seeds: int) -> list[Task]:
    """All that is to be made, row by row; rows are names with `makers.made_with`."""
    return [task for row in rows for task in tasks({row: rows[row]}, prompts, seeds)]


def evaluate(
    sources: Callable[[str], Source], todo: Sequence[Task], results: Lines, folder: Path
) -> None:
    """Make, measure and keep what is not in the results yet.

    Args:
        sources: a row, ready; called for every video, so that it decides what it keeps.
        todo: all that is wanted.
        results: where the columns go.
        folder: where the frames at seams go.
    """
    for task, made, seconds in make_missing(todo, results.lines, lambda row: sources(row).make):
        length = len(made.clip)
        told = task.named | {
            "motion": task.prompt.scene.motion,
            "seconds_per_frame": seconds / length,
            "passes_per_segment": sum(made.passes.values()) * FRAMES / length,
        }
        keep(folder, task.row, task.prompt, task.seed, made.clip)
        seen = measured(made.clip, task.prompt, sources(task.row).seams)
        results.add(told | made.costs | seen)


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

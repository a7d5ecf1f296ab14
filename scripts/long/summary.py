"""Results as tables in Markdown, every number over all prompts and by kind of motion."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median

from evaluation.lines import Lines
from evaluation.summary import table
from evaluation.tasks import Task
from long.rows import KINDS, kind_of
from world.scene import MOTIONS

Line = Mapping[str, str]
Average = Callable[[Sequence[float]], float]


def magnitude(values: Sequence[float]) -> float:
    """The mean of what is left of the signs."""
    return fmean(abs(value) for value in values)


Column = tuple[str, str, Average, str]
"""A header, a column of the results, how it is averaged, how it is written."""
SEAMS: tuple[Column, ...] = (
    ("structure seam", "structure_seam_pixels", median, ".2f"),
    ("near it", "seam_near_pixels", median, ".2f"),
    ("window seam", "window_seam_pixels", median, ".2f"),
    ("its largest", "window_seam_largest_pixels", median, ".2f"),
    ("structure seam, features", "structure_seam_features", median, ".2f"),
    ("near it, features", "seam_near_features", median, ".2f"),
    ("window seam, features", "window_seam_features", median, ".2f"),
    ("its largest, features", "window_seam_largest_features", median, ".2f"),
)
SUBJECT: tuple[Column, ...] = (
    ("frames right", "looks_frames", fmean, ".3f"),
    ("shape", "shape_frames", fmean, ".3f"),
    ("colour", "colour_frames", fmean, ".3f"),
    ("background", "background_frames", fmean, ".3f"),
    ("subject consistency", "subject_consistency", fmean, ".3f"),
    ("motion_segments", "motion_segments", fmean, ".3f"),
    ("movement", "movement", fmean, ".2f"),
    ("resizing", "resizing", fmean, ".2f"),
)
DRIFT: tuple[Column, ...] = (
    ("brightness", "drift_brightness", magnitude, ".1%"),
    ("contrast", "drift_contrast", magnitude, ".1%"),
    ("sharpness", "drift_sharpness", magnitude, ".1%"),
    ("hue", "drift_hue", magnitude, ".1f"),
    ("repetition", "repetition", fmean, ".2f"),
    ("its mean", "repetition_mean", fmean, ".2f"),
    ("seconds a frame", "seconds_per_frame", median, ".3f"),
    ("passes a segment", "passes_per_segment", fmean, ".1f"),
)
BY_MOTION = (SEAMS[0], SEAMS[1], SEAMS[2], SUBJECT[5])
TABLES = {"Seams": SEAMS, "What is seen": SUBJECT, "Drift, repetition, costs": DRIFT}

LEGEND = f"""\
A cell is over all prompts (those whose motion {KINDS[0]} / those whose motion {KINDS[1]}); n
likewise. Standing still, swinging and pulsing follow themselves: a clip of them can follow another
without a jump. Of the others a clip ends where it has arrived, and the next one starts over. The
row `renders` is the floor: rendered clips over and over.

*Seams*: the change between frames there over the median change inside structures; 1 cannot be seen.
Medians over videos. *Near it*: the largest change within 2 frames of a structure seam. *Window
seam*: the mean over all changes where refinement windows meet; *its largest*: the largest of them.
A change of less than half a level of 0-255 (0.4 in the judge's features) counts as that. What has
stopped moving has no seams: read them beside *motion_segments*.

*Frames right*: share of single frames whose shape, colour and background are the prompt's. *Subject
consistency*: share of frames that show what most frames show. *motion_segments*: share of segments
of 16 frames that move as asked. *Movement*: of the object's centre, percent of the side a frame;
*resizing*: of its radius, percent a frame; both inside segments.

*Drift*: last 16 frames against the first 16, mean of the absolute changes; hue in degrees.
*Repetition*: the highest cosine similarity (and the mean) between segments at least 2 apart, of
pixels without the video's mean frame; segments that all stand still have 1. *Passes a segment*:
passes through networks for each 16 frames of video.
"""


def summary(results: Lines, todo: Iterable[Task]) -> str:
    """The tables, a line for each row, of what is there of the tasks."""
    present = by_row(results, todo)
    parts = []
    for title, columns in TABLES.items():
        header = ("row", "n", *(name for name, *_ in columns))
        lines = []
        for row, found in present.items():
            lines.append([row, _counts(found), *(_cell(found, column) for column in columns)])
        parts.append(f"### {title}\n\n{table(header, lines)}")
    parts += [f"### By motion: {column[0]}\n\n{by_motion(present, column)}" for column in BY_MOTION]
    return "\n".join((*parts, LEGEND))


def by_motion(present: Mapping[str, Sequence[Line]], column: Column) -> str:
    """One column as a table of its own: a line for each row, a cell for each motion."""
    name, lines = column[1], []
    for row, found in present.items():
        cells = []
        for motion in MOTIONS:
            values = numbers([line for line in found if line["motion"] == motion], name)
            cells.append(_average(values, column))
        lines.append([row, *cells])
    return table(("row", *MOTIONS), lines)


def by_row(results: Lines, todo: Iterable[Task]) -> dict[str, list[Line]]:
    """The lines that there are of the tasks, by row."""
    present: dict[str, list[Line]] = {}
    for task in todo:
        if task.key in results.lines:
            present.setdefault(task.row, []).append(results.lines[task.key])
    return present


def of_kind(lines: Iterable[Line], kind: str) -> list[Line]:
    """The lines of prompts whose motion is of a kind."""
    return [line for line in lines if kind_of(line["motion"]) == kind]


def numbers(lines: Iterable[Line], column: str) -> list[float]:
    """A column's numbers, without those that are none."""
    return [value for line in lines if not math.isnan(value := float(line[column]))]


def _counts(lines: Sequence[Line]) -> str:
    itself, direction = (len(of_kind(lines, kind)) for kind in KINDS)
    return f"{len(lines)} ({itself} / {direction})"


def _cell(lines: Sequence[Line], column: Column) -> str:
    groups = (lines, *(of_kind(lines, kind) for kind in KINDS))
    every, itself, direction = (_average(numbers(group, column[1]), column) for group in groups)
    return f"{every} ({itself} / {direction})"


def _average(values: Sequence[float], column: Column) -> str:
    _, _, average, form = column
    return format(average(values), form) if values else "-"

"""Results as tables in Markdown."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from statistics import fmean, median

import torch
from torch import Tensor

from evaluation.floor import levels
from evaluation.judge import judge
from evaluation.lines import Key
from evaluation.metrics import frechet
from evaluation.prompts import Prompt
from evaluation.results import ROLES, Results
from world.render import render
from world.scene import placed

PLACEMENTS = 2
HEADER = (
    "row", "n", "shape", "colour", "background", "motion", "all four", "held out: all four",
    "frames: shape / colour / background", "flicker", "contrast", "sharpness", "jitter", "feature distance",
    "evaluations", "passes", "median seconds",
)  # fmt: skip
LEGEND = """\
Shape, colour, background, motion and all four: share of clips that the judge finds right; held out: of the attribute
combinations that no training saw; frames: share of single frames. Flicker: mean change of still background between
frames, in levels of 0-255. Contrast and sharpness: over a render of what the clip shows. Jitter: of the object around
its path, percent of the side. Feature distance: Frechet, of the judge's features to those of other renders of the
same attributes (it depends on n: compare rows of the same n). Evaluations and passes: a clip's, of control, spatial
and temporal expert.
"""


def summary(results: Results, keys: Iterable[Key], prompts: Sequence[Prompt]) -> str:
    """One table, a line for each row, of what is there of the keys."""
    reference = reference_features(prompts)
    present: dict[str, list[Key]] = {}
    for key in keys:
        if key in results:
            present.setdefault(key[0], []).append(key)
    lines = [_line(results, row, found, reference) for row, found in present.items()]
    return f"{table(HEADER, lines)}\n{LEGEND}"


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def reference_features(prompts: Sequence[Prompt]) -> Tensor:
    """The judge's features of renders with the prompts' attributes in other placements, `(sample, feature)`."""
    rng = random.Random("reference")
    scenes = [placed(prompt.scene.combination, rng) for prompt in prompts for _ in range(PLACEMENTS)]
    return torch.cat([judge(levels(render(scene))).features for scene in scenes])


def _line(results: Results, row: str, keys: Sequence[Key], reference: Tensor) -> list[str]:
    lines = [results.lines[key] for key in keys]

    def mean(column: str) -> float:
        return fmean(float(line[column]) for line in lines)

    held_out = [float(line["all"]) for line in lines if line["held_out"] == "1"]
    shares = [f"{mean(name):.3f}" for name in ("shape", "colour", "background", "motion", "all")]
    frames = " / ".join(f"{mean(f'{name}_frames'):.3f}" for name in ("shape", "colour", "background"))
    distance = frechet(torch.cat([results.features_of(key) for key in keys]), reference)
    costs = [" + ".join(f"{mean(f'{kind}_{role}'):g}" for role in ROLES) for kind in ("evaluations", "passes")]
    return [
        row, str(len(lines)), *shares, f"{fmean(held_out):.3f} ({len(held_out)})" if held_out else "-", frames,
        f"{mean('flicker'):.3f}", *(f"{mean(name):.3f}" for name in ("contrast", "sharpness")),
        f"{mean('jitter'):.2f}", f"{distance:.2f}", *costs,
        f"{median(float(line['seconds']) for line in lines):.2f}",
    ]  # fmt: skip

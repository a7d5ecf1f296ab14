"""Does the direction follow the word? The same seed and prompt, only the motion word swapped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from evaluation.prompts import Prompt
from evaluation.results import Results
from evaluation.summary import table
from evaluation.tasks import Task, seed_of
from world.captions import canonical
from world.render import TRAVEL

OPPOSITES = (("moving left", "moving right", "travel_x"), ("rising", "falling", "travel_y"))
ROWS = ("control_4", "temporal_50")
LEAST_TRAVEL = 25 * TRAVEL
"""A quarter of the rendered travel, in percent of the side: what moves less has no direction."""


def swapped(prompts: Iterable[Prompt]) -> list[Prompt]:
    """Every prompt in four directions, in the plainest words."""
    return [
        with_motion(prompt, motion)
        for prompt in prompts
        for pair in OPPOSITES
        for motion in pair[:2]
    ]


def with_motion(prompt: Prompt, motion: str) -> Prompt:
    """The prompt's scene in another motion."""
    scene = replace(prompt.scene, motion=motion)
    return replace(prompt, scene=scene, text=canonical(scene))


def signs(results: Results, rows: Mapping[str, str], prompts: Sequence[Prompt], seeds: int) -> str:
    """A Markdown table: the share of pairs whose two clips move in the directions asked for."""
    lines = []
    for row, made_with in rows.items():
        shares = [_share(results, row, made_with, prompts, seeds, pair) for pair in OPPOSITES]
        lines.append([row, str(len(prompts) * seeds), *(f"{share:.3f}" for share in shares)])
    return table(("row", "pairs", "left / right", "rising / falling"), lines)


def _share(
    results: Results,
    row: str,
    made_with: str,
    prompts: Sequence[Prompt],
    seeds: int,
    pair: tuple[str, str, str],
) -> float:
    back, forth, column = pair
    right = 0
    for prompt in prompts:
        for repetition in range(seeds):
            seed = seed_of(prompt, repetition)
            made = [
                Task(row, made_with, with_motion(prompt, motion), seed) for motion in (back, forth)
            ]
            first, second = (float(results.lines[task.key][column]) for task in made)
            right += first <= -LEAST_TRAVEL and second >= LEAST_TRAVEL
    return right / (len(prompts) * seeds)

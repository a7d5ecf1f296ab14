"""What makes a row's clips: confiner with a row's overrides, or no expert at all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial

from confiner_cli import api
from evaluation.clips import clip_of, levels
from evaluation.floor import reconstructor
from evaluation.prompts import Prompt
from evaluation.rows import ROWS
from evaluation.tasks import Made, Maker
from world.render import render

Load = Callable[[], api.Confiner]


def makers(overrides: Sequence[str]) -> dict[str, Callable[[], Maker]]:
    """What makes each row's clips, got ready when it is called.

    Args:
        overrides: for every row, such as `device=cuda`.
    """
    load = embedded(overrides)
    experts = {row: partial(by_confiner, load, (*own, *overrides)) for row, own in ROWS.items()}
    return {"renders": rendered, "reconstructions": reconstructed, **experts}


def embedded(overrides: Sequence[str]) -> Load:
    """Loads the embedded experts when it is first called: all rows share their networks."""
    return functools.cache(partial(api.load, "tiny", *overrides))


def by_confiner(load: Load, overrides: Sequence[str], num_frames: int | None = None) -> Maker:
    """Clips by confiner, its experts loaded.

    Args:
        load: the experts.
        overrides: a row's, beside those that the experts were loaded with.
        num_frames: of a clip; None is the experts' own.
    """
    confiner = load()

    def make(prompt: Prompt, seed: int) -> Made:
        video = confiner.generate(prompt.text, *overrides, seed=seed, num_frames=num_frames)
        return Made(clip_of(video.frames), video.evaluations, video.passes)

    return make


def rendered() -> Maker:
    """The floor: the prompt's scene as rendered."""
    return lambda prompt, seed: Made(levels(render(prompt.scene)))


def reconstructed() -> Maker:
    """The floor that the VAE allows."""
    through = reconstructor()
    return lambda prompt, seed: Made(through(render(prompt.scene)))

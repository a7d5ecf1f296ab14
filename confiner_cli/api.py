"""confiner from Python: load a set of experts once, make videos of many prompts, no files and no global state."""

from __future__ import annotations

import base64
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from confiner_cli.config.hydra import compose, settings_of
from confiner_cli.config.overrides import for_hydra
from confiner_cli.config.resolve import resolved
from confiner_cli.config.roles import loaded_roles
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.media.video import write_video
from confiner_cli.method.pipeline import refined, structures
from confiner_cli.runs.loading import Production, prepare
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.record import recipe
from confiner_cli.weights.download import fetch

KEYWORDS = (
    "negative_prompt",
    "prompts",
    "seed",
    "num_frames",
    "height",
    "width",
    "fps",
    "device",
    "dtype",
    "memory",
    "frame_batch",
)


@dataclass(frozen=True)
class Video:
    """A finished video.

    Attributes:
        frames: `(frame, height, width, 3)`, uint8.
        settings: everything that decided it, the seed included.
        evaluations: denoiser calls by role.
        passes: what they cost, by role: a guided call is two.
        notices: one-line remarks about the prompt, such as words that the experts have never learnt.
    """

    frames: Tensor
    settings: Settings
    evaluations: dict[str, int]
    passes: dict[str, int]
    notices: tuple[str, ...]
    decode_structure: Callable[[], Tensor] = field(repr=False)

    @cached_property
    def structure(self) -> Tensor:
        """The coarse video that it was refined from, same shape; decoded when it is first asked for."""
        return self.decode_structure()

    def save(self, path: str | Path) -> Path:
        """Write an MP4 that says how it was made, whole or not at all, and return its path."""
        assert self.settings.fps is not None
        _, height, width, _ = self.frames.shape
        write_video(
            Path(path), self.frames, (height, width), self.settings.fps, recipe(self.settings)
        )
        return Path(path)

    def _repr_html_(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            data = base64.b64encode(self.save(Path(folder) / "video.mp4").read_bytes()).decode()
        size = max(256, self.frames.shape[2])
        return f'<video controls loop autoplay muted width="{size}" src="data:video/mp4;base64,{data}"></video>'


@dataclass(frozen=True)
class Confiner:
    """A set of experts, loaded; made by `load`. `settings` are those of a call without overrides."""

    overrides: tuple[str, ...]
    settings: Settings

    def generate(self, prompt: str, *overrides: str, **settings: Any) -> Video:
        """Make one video.

        Args:
            prompt: what the video shows, verbatim.
            overrides: as on the command line, for instance `"scheduler=confiner_18"`; they come after those of `load`.
            settings: those of `KEYWORDS`, for instance `seed=7`, `num_frames=8`, `negative_prompt="..."`.

        Raises:
            ConfinerError: a value that cannot be used, or a failure with a cure.
        """
        if unknown := [name for name in settings if name not in KEYWORDS]:
            raise ConfinerError(
                f"there is no keyword {unknown[0]}=",
                f"keywords are {', '.join(KEYWORDS)}; others: generate(prompt, 'a.b=c')",
            )
        words = for_hydra(overrides, multirun=False)
        composed = settings_of(compose([*self.overrides, *words])) if words else self.settings
        chosen = resolved(replace(composed, prompt=prompt, **settings))
        if math.isinf(chosen.length):
            raise ConfinerError(
                "a video without an end does not fit into memory", "num_frames= takes a number here"
            )
        fetch(chosen, loaded_roles(chosen))
        production, meter = prepare(chosen), Meter()

        def watch(stage: str, steps: Any, total: int) -> Any:
            return meter.watch(stage, steps)

        drafts = list(structures(production.pipeline, watch))
        finished = list(refined(production.pipeline, drafts, watch))
        frames = _frames(production, finished)
        coarse = (
            [made.latents for made in drafts]
            if chosen.scheduler.refinement.num_inference_steps
            else finished
        )

        def structure() -> Tensor:
            return _frames(production, coarse)[: len(frames)]

        return Video(
            frames,
            chosen,
            dict(meter.evaluations),
            dict(meter.passes),
            production.notices,
            structure,
        )


def _frames(production: Production, parts: list[Tensor]) -> Tensor:
    return torch.stack([frame for latents in parts for frame in production.decoder(latents)])


def load(experts: str = "tiny", *overrides: str) -> Confiner:
    """Load a set of experts by its name, `confiner experts` lists them; overrides are as on the command line.

    Raises:
        ConfinerError: weights that are missing or damaged, or a device that is not there.
    """
    chosen = tuple(for_hydra((f"experts={experts}", *overrides), multirun=False))
    settings = settings_of(compose(chosen))
    chosen_settings = resolved(replace(settings, prompt="-"))
    fetch(chosen_settings, loaded_roles(chosen_settings))
    prepare(chosen_settings)
    return Confiner(chosen, settings)

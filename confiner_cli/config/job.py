"""A job: a run that is decided. `resolve` makes it of what a person asked for, `Settings`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from confiner_cli.config.schema import ROLES, Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.spec import ExpertSpec
from confiner_cli.media.sound import Sound
from confiner_cli.media.source_video import SourceVideo
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.method.options import (
    GuidanceOptions,
    LongVideoOptions,
    RefinementOptions,
    StructureOptions,
)
from confiner_cli.method.planned import PlannedExpert
from confiner_cli.method.refinement import refinement_visits
from confiner_cli.method.structure import structure_visits
from confiner_cli.method.walk import Visit

Joint: TypeAlias = Literal["latents", "whole", "frames"]
"""As what structures become the drafts of windows, and windows the video."""


@dataclass(frozen=True)
class Job:
    """Everything that decides a video, checked, nothing of it left open. Plain values: it pickles.

    Attributes:
        settings: what was asked, made whole: what run.json and the MP4 record.
        prompts: by the frame from which on each holds; frame 0 is among them. A plan may have "".
        negative_prompt: "" where there is none.
        seed: in [0, 2**64).
        size: `(height, width)` in pixels.
        fps: frames a second.
        experts: by role, control first: those of which something is loaded.
        asked: the roles among them that are asked for estimates.
        guidance: by role that is asked.
        structure, refinement, long_video: the method's own options.
        timeline: where structures and windows lie; the number of frames is its.
        source_videos: the video in the structure's place, if one is given; else empty.
        sound: of that video, what the result has of it.
        losses: what of that video the result lacks, a line each.
    """

    settings: Settings
    prompts: Mapping[int, str]
    negative_prompt: str
    seed: int
    size: tuple[int, int]
    fps: float
    experts: Mapping[str, ExpertSpec]
    asked: tuple[str, ...]
    guidance: Mapping[str, GuidanceOptions]
    structure: StructureOptions
    refinement: RefinementOptions
    long_video: LongVideoOptions
    timeline: Timeline
    source_videos: tuple[SourceVideo, ...] = ()
    sound: Sound | None = None
    losses: tuple[str, ...] = ()

    @property
    def num_frames(self) -> float:
        """The video's length; `math.inf` until Ctrl-C."""
        return self.timeline.num_frames

    @property
    def prompt(self) -> str:
        """The prompt of the start."""
        return self.prompts[0]

    @property
    def samples_structures(self) -> bool:
        """Whether structures are sampled, and not read from a video."""
        return not self.source_videos

    @property
    def planned(self) -> Mapping[str, PlannedExpert]:
        """The experts that are asked, by role, as visits are listed for them."""
        return {role: PlannedExpert(self.experts[role].schedule) for role in self.asked}

    @property
    def structure_visits(self) -> list[Visit[PlannedExpert]]:
        """Those of a structure's walk; none where a video is given instead."""
        if not self.samples_structures:
            return []
        return structure_visits(self.structure, self.planned[self.structure.expert])

    @property
    def refinement_visits(self) -> list[Visit[PlannedExpert]]:
        """Those of a window's walk, in its order."""
        planned = self.planned
        return refinement_visits(self.refinement, planned.get("spatial"), planned.get("temporal"))

    @property
    def draft_role(self) -> str:
        """Whose latents structures are: the drafting expert's, or those that a window begins in."""
        return self.structure.expert if self.samples_structures else self.window_roles[0]

    @property
    def window_roles(self) -> tuple[str, str]:
        """Who is asked first and who last in a window's walk; both are the draft's without one."""
        roles = [visit.role for visit in self.refinement_visits] or [self.structure.expert]
        return roles[0], roles[-1]

    @property
    def crosses(self) -> bool:
        """Whether the experts that are asked work in several latent spaces."""
        return len({self.experts[role].latent_space for role in self.asked}) > 1

    @property
    def joins_in(self) -> Joint:
        """What is between the walks of a video.

        Structures are cut and windows cross-faded as `latents`, where these are frames of one
        space; the latents of one structure, `whole`, are the draft of one window; or structures and
        windows are joined as `frames`.
        """
        first, last = (self.experts[role].latent_space for role in self.window_roles)
        is_drafted_there = self.experts[self.draft_role].latent_space == first
        if is_drafted_there and first == last and self.timeline.space.time_factor == 1:
            return "latents"
        is_one = is_drafted_there and self.timeline.structure_count == 1
        return "whole" if is_one else "frames"

    def vae_role(self, role: str) -> str:
        """Who brings the VAE of the latent space that an expert works in."""
        space = self.experts[role].latent_space
        specs = self.experts.items()
        return next(name for name, spec in specs if spec.vae and spec.latent_space == space)

    def finite(self, why: str) -> Job:
        """The job, where its video has an end.

        Raises:
            ConfinerError: it has none; `why` says why it must.
        """
        if math.isinf(self.num_frames):
            raise ConfinerError(why, "num_frames= takes a number here")
        return self


def roles_in_order(roles: set[str]) -> tuple[str, ...]:
    """These roles, control first."""
    return tuple(role for role in ROLES if role in roles)

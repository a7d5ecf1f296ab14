"""What VAEs decode and encode in a run, known before anything is loaded. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from confiner_cli.config.job import Job
from confiner_cli.costs.table import companions, encoder_of, preview_of
from confiner_cli.method.walk import MEMORY

Lengths: TypeAlias = tuple[int, ...]
"""Frames of each video that goes through a VAE by itself, from its first frame on."""


@dataclass(frozen=True)
class Coding:
    """Frames that go through a VAE in one direction.

    Attributes:
        stage: `encode` or `decode`; `bridge` where an estimate crosses to another latent space.
        way: the direction, which is the stage but for a bridge's.
        role: an expert that works in the VAE's latent space.
        lengths: of one sample.
        previews: whether the cheaper decoder does it.
    """

    stage: Literal["encode", "bridge", "decode"]
    way: Literal["encode", "decode"]
    role: str
    lengths: Lengths
    previews: bool = False

    def network(self, job: Job) -> str:
        """The network's row in the table of costs."""
        architecture = job.experts[job.vae_role(self.role)].architecture or ""
        if self.previews:
            return preview_of(architecture)
        vae = companions(architecture)[1]
        return vae if self.way == "decode" else encoder_of(vae)

    def name(self, job: Job) -> str:
        """Who does it, as a plan says it: which of several VAEs, by its latent space."""
        if self.previews:
            return "preview"
        space = job.experts[self.role].latent_space
        if self.stage == "bridge":
            return f"{'from' if self.way == 'decode' else 'to'} {space}"
        return f"vae {space}" if job.crosses else "vae"


def codings(job: Job) -> Iterator[Coding]:
    """All that a run of one sample codes, some of it by the same network as some other.

    Args:
        job: of a video that ends.
    """
    in_frames, (first, last) = job.joins_in == "frames", job.window_roles
    timeline = job.timeline
    numbers = range(int(timeline.window_count))
    structures = tuple(map(len, timeline.structures))
    windows = tuple(len(timeline.refines(number)) for number in numbers)
    if in_frames or not job.samples_structures:
        yield Coding("encode", "encode", first, windows if in_frames else structures)
    yield from _crossings(job, windows)
    decided = tuple(map(len, timeline.windows)) if job.joins_in == "latents" else windows
    yield Coding("decode", "decode", last, decided)
    if in_frames and job.samples_structures:
        yield Coding("decode", "decode", job.draft_role, structures)
    if job.settings.output.structure and (job.samples_structures or not in_frames):
        yield _shown(job)


def _crossings(job: Job, windows: Lengths) -> Iterator[Coding]:
    """The bridges of all windows' walks, as `bridge.Crossing` passes them.

    Whoever comes back, within what a walk remembers, takes over the change alone: beside what has
    become of the estimate, what it was on arrival crosses once more.
    """
    roles = [visit.role for visit in job.refinement_visits]
    spaces = [job.experts[role].latent_space for role in roles]
    for number, (here, there) in enumerate(pairwise(spaces)):
        if here == there:
            continue
        remembered = spaces[max(0, number + 1 - MEMORY) : number]
        comes_back = job.refinement.bridge == "residual" and there in remembered
        lengths = windows * (2 if comes_back else 1)
        yield Coding("bridge", "decode", roles[number], lengths)
        yield Coding("bridge", "encode", roles[number + 1], lengths)


def _shown(job: Job) -> Coding:
    """What the video shows of its structures, in whole latents."""
    space, end = job.experts[job.draft_role].space, int(job.num_frames)
    shown = (min(span.stop, end) - span.start for span in job.timeline.structures)
    drafting = job.experts[job.vae_role(job.draft_role)]
    lengths = tuple(map(space.rounded_up, shown))
    return Coding("decode", "decode", job.draft_role, lengths, previews=bool(drafting.preview))

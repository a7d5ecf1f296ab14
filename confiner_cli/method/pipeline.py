"""From denoisers to refined latents: one structure, one window at a time.

Nothing here knows files, configs or diffusers. A structure depends on the one before it, a window
on the structures it has frames of and on nothing else: what is computed where, and in which order,
changes no bit. Several seeds are a batch, one sample a seed, which never mix: each sample's noise
has the bits that it has alone, and networks alone may answer a batch with other last bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from confiner_cli.errors import NotFiniteError
from confiner_cli.method.bridge import Coding, bridged
from confiner_cli.method.latent_space import LatentSpace
from confiner_cli.method.long.coherence import Coherent
from confiner_cli.method.long.pingpong import AnchoredDenoiser, as_shown, continuation
from confiner_cli.method.long.prompt_travel import for_frames
from confiner_cli.method.long.shuffling import in_order, initial_noise, order_in_previous
from confiner_cli.method.long.timeline import PICTURES, Span, Timeline
from confiner_cli.method.noise import frames_noise
from confiner_cli.method.options import LongVideoOptions, RefinementOptions, StructureOptions
from confiner_cli.method.refinement import refine, refinement_visits
from confiner_cli.method.structure import sample, step_schedule, structure_visits
from confiner_cli.method.transfer import onto
from confiner_cli.method.walk import Denoiser, Step, Visit

CPU = torch.device("cpu")

Watch = Callable[[str, Iterator[Step], int], Iterable[Step]]
"""Wraps a walk: gets the stage's name, the steps and how many there are, passes the steps on."""


@dataclass(frozen=True)
class Structure:
    """A coarse segment.

    Attributes:
        number: which, from 0.
        latents: `(sample, channel, frame, height, width)`, as the video shows them.
        noises: by step from 0, the noise that the expert found, shaped like the latents, in its own
            order of frames; only where the next segment hears it.
        backwards: for each sample, whether the video shows it backwards.
    """

    number: int
    latents: Tensor
    noises: Mapping[int, Tensor] = field(default_factory=dict)
    backwards: tuple[bool, ...] = (False,)


@dataclass(frozen=True)
class Pipeline:
    """All that decides the latents.

    Attributes:
        denoisers: by role, then by the frame from which on each prompt holds (0 is among them).
        structure: how structures are sampled.
        refinement: how windows are refined.
        timeline: where structures and windows lie.
        size: `(height, width)` of the video, in pixels.
        seeds: what all noise is keyed by: a sample of the batch for each.
        spaces: by role, what it works in, where that is not `PICTURES`.
        codings: by role, where they are not all in one space, the way to frames and back.
        long_video: how segments follow each other.
        source_latents: makes the clean latents of a structure's span, `(1, channel, frame, height,
            width)`, where a video is given instead of sampled.
        device: the denoisers'. Samples stay there from their first noise on. Noise is drawn on the
            CPU, for each visit while the device still computes the one before it.
    """

    denoisers: Mapping[str, Mapping[int, Denoiser]]
    structure: StructureOptions
    refinement: RefinementOptions
    timeline: Timeline
    size: tuple[int, int]
    seeds: tuple[int, ...]
    spaces: Mapping[str, LatentSpace] = field(default_factory=dict)
    codings: Mapping[str, Coding] = field(default_factory=dict)
    long_video: LongVideoOptions = field(default_factory=LongVideoOptions)
    source_latents: Callable[[Span], Tensor] | None = None
    device: torch.device = CPU

    @property
    def follows(self) -> bool:
        """Whether a structure depends on the one before it."""
        heard = self.long_video.coherence > 0 or self.long_video.turn
        return heard and self.source_latents is None

    @property
    def structure_evaluations(self) -> int:
        """How many evaluations a structure takes."""
        return 0 if self.source_latents else self.structure.num_inference_steps

    @property
    def refinement_evaluations(self) -> int:
        """How many evaluations a window takes."""
        return len(self.visits(self.timeline.refines(0)))

    def visits(self, span: Span) -> list[Visit[Denoiser]]:
        """The visits of a window's refinement; empty where the structure is the result."""
        if not self.refinement.patterns:
            return []  # one expert alone: the others may not even be loaded
        spatial, temporal = (
            for_frames(self.denoisers[role], self.space_of(role).first_frames(span.frames))
            if role in self.denoisers
            else None
            for role in ("spatial", "temporal")
        )
        visits = refinement_visits(self.refinement, spatial, temporal)
        if not self.codings:
            return visits
        return bridged(visits, self.codings, residual=self.refinement.bridge == "residual")

    def space_of(self, role: str) -> LatentSpace:
        """What an expert works in."""
        return self.spaces.get(role, PICTURES)

    @property
    def draft_space(self) -> LatentSpace:
        """What structures are sampled in."""
        return self.space_of(self.structure.expert)

    def initial_noise(self, segment: int) -> Tensor:
        """The noise that a structure starts from, `(sample, channel, frame, height, width)`."""
        space, long_video = self.draft_space, self.long_video
        shape, length = space.shape(*self.size), space.length(self.timeline.length)
        shared = (segment, long_video.consistency, long_video.shuffle)
        noise = [initial_noise(shape, length, seed, *shared) for seed in self.seeds]
        return onto(torch.cat(noise), self.device)

    def structure_noise(self, segment: int, visit: int) -> Tensor:
        """Fresh noise of a structure for the arrival at a visit, shaped like its latents."""
        latents = range(self.draft_space.length(self.timeline.length))
        return self._noise(self.draft_space, latents, "structure", segment, visit)

    def renoise(self, window: int, visit: int, role: str) -> Tensor:
        """Fresh noise of a window for the arrival at a visit of `role`, shaped like its latents.

        It is keyed by the video's frames, so windows agree about the frames that they share, unless
        `noise_by` says otherwise. The temporal expert never meets the same noise in all frames.
        """
        space = self.space_of(role)
        frames = space.first_frames(self.timeline.refines(window).frames)
        if role == "spatial" and self.refinement.frame_noise == "shared":
            frames = [0] * len(frames)
        own = () if self.long_video.noise_by == "frame" else (window,)
        return self._noise(space, frames, "refinement", *own, visit)

    def _noise(self, space: LatentSpace, frames: Iterable[int], *key: str | int) -> Tensor:
        shape, each = space.shape(*self.size), list(frames)
        noise = [frames_noise(shape, each, seed, *key) for seed in self.seeds]
        return onto(torch.cat(noise), self.device)


def sample_structure(
    pipeline: Pipeline, number: int, previous: Structure | None, watch: Watch
) -> Structure:
    """Make structure `number`.

    Args:
        pipeline: what decides it.
        number: which structure, from 0.
        previous: the one before it, on the pipeline's device; asked only where `pipeline.follows`.
        watch: is shown the steps.

    Raises:
        ValueError: it follows from another structure than `previous`.
        NotFiniteError: an estimate is not finite.
    """
    backwards = (False,) * len(pipeline.seeds)
    if pipeline.source_latents:
        latents = pipeline.source_latents(pipeline.timeline.structure(number))
        return Structure(number, torch.cat([latents] * len(pipeline.seeds)), {}, backwards)
    denoiser = _prompted(pipeline, number)
    visits = structure_visits(pipeline.structure, denoiser)
    if number and pipeline.follows:
        if previous is None or previous.number != number - 1:
            raise ValueError(f"structure {number} follows from structure {number - 1}")
        visits, backwards = _following(pipeline, previous, visits)
    spacing = step_schedule(pipeline.structure, denoiser.schedule)
    fresh = partial(pipeline.structure_noise, number)
    steps = sample(pipeline.initial_noise(number), visits, spacing, fresh)
    noises = {}
    for index, step in enumerate(watch("structure", _finite("structure", steps), len(visits))):
        if pipeline.long_video.coherence:
            noises[index] = step.estimate.noise
    return Structure(number, as_shown(step.x_t, backwards), noises, backwards)


def _following(
    pipeline: Pipeline, previous: Structure, visits: Sequence[Visit[Denoiser]]
) -> tuple[list[Visit[Denoiser]], tuple[bool, ...]]:
    """The visits of the structure after `previous`, pulled to it, and what goes backwards."""
    denoisers, gamma = [visit.denoiser for visit in visits], pipeline.long_video.coherence
    backwards = (False,) * len(pipeline.seeds)
    # Another prompt has another denoiser, and starts a motion afresh: it is not to be turned.
    same_prompt = denoisers[0] is _prompted(pipeline, previous.number)
    if gamma:
        # Each step hears the noise of the same step, so each visit gets a denoiser of its own.
        noises = _aligned(pipeline, previous)
        denoisers = [Coherent(each, noises[step], gamma) for step, each in enumerate(denoisers)]
    if pipeline.long_video.turn and same_prompt:
        # Outside of coherence: what is known of the frames has the last word.
        backwards, target, weight = continuation(previous.latents, previous.backwards)
        denoisers = [AnchoredDenoiser(each, target, weight) for each in denoisers]
    pulled = zip(visits, denoisers, strict=True)
    return [replace(visit, denoiser=denoiser) for visit, denoiser in pulled], backwards


def _prompted(pipeline: Pipeline, number: int) -> Denoiser:
    """The denoiser of a structure: it has the prompt of its start."""
    start = pipeline.timeline.structure(number).start
    return for_frames(pipeline.denoisers[pipeline.structure.expert], [start])


def _aligned(pipeline: Pipeline, previous: Structure) -> Mapping[int, Tensor]:
    """The previous segment's noises by step, each frame where it is to pull.

    That is at its own index, or where this segment has the frame of the base noise that it is of.
    """
    if pipeline.long_video.align == "frame":
        return previous.noises
    length = pipeline.draft_space.length(pipeline.timeline.length)
    shuffle = pipeline.long_video.shuffle
    orders = [
        order_in_previous(length, seed, previous.number + 1, shuffle) for seed in pipeline.seeds
    ]
    orders = [onto(order, pipeline.device) for order in orders]
    return {step: in_order(eps, orders) for step, eps in previous.noises.items()}


def refine_window(pipeline: Pipeline, number: int, draft: Tensor, watch: Watch) -> Tensor:
    """Refine window `number`.

    Args:
        pipeline: what decides it.
        number: which window, from 0.
        draft: the latents of the structures' frames `pipeline.timeline.refines(number)`, `(sample,
            channel, frame, height, width)`, on the pipeline's device.
        watch: is shown the steps.

    Returns:
        The refined frames, shaped like `draft`.

    Raises:
        NotFiniteError: an estimate is not finite.
    """
    visits = pipeline.visits(pipeline.timeline.refines(number))
    if not visits:
        return draft
    steps = refine(draft, visits, lambda visit: pipeline.renoise(number, visit, visits[visit].role))
    watched = watch("refinement", _finite("refinement", steps), len(visits))
    return deque(watched, maxlen=1)[0].x_t


def cut_draft(timeline: Timeline, span: Span, latents: Mapping[int, Tensor]) -> Tensor:
    """The frames of a span, cut from the latents of the structures that have them, by number."""
    wanted = timeline.structures_of(span)
    first = timeline.structure(wanted[0]).start
    joined = torch.cat([latents[number] for number in wanted], dim=2)
    return joined[:, :, span.start - first : span.stop - first]


def cross_fade(timeline: Timeline, number: int, refined: Tensor, before: Tensor | None) -> Tensor:
    """The video's frames that window `number` decides.

    Those that it shares with the window before it go over from that one's to its own.

    Args:
        timeline: where the windows lie.
        number: the window's.
        refined: all that it refined, `(sample, channel, frame, height, width)`.
        before: all that the window before it refined; not needed for the first, or without an
            overlap.

    Raises:
        ValueError: it is needed and not there.
    """
    shared = timeline.overlap if number else 0
    if shared:
        if before is None:
            raise ValueError(f"window {number} shares frames with window {number - 1}")
        # Even steps that leave out 0 and 1: both windows have a say in every frame they share.
        steps = torch.arange(1, shared + 1, dtype=torch.float32, device=refined.device)
        weight = (steps / (shared + 1)).to(refined).view(-1, 1, 1)
        faded = torch.lerp(before[:, :, -shared:], refined[:, :, :shared], weight)
        refined = torch.cat((faded, refined[:, :, shared:]), dim=2)
    return refined[:, :, : len(timeline.window(number))]


def _finite(stage: str, steps: Iterator[Step]) -> Iterator[Step]:
    """The same steps; raises NotFiniteError of the first whose estimate is not finite.

    On the CPU it does so at that step. To read what a GPU has computed is to wait for it: there the
    last step is, too, and all are read at once.
    """
    visits: list[Visit[Denoiser]] = []
    found: list[Tensor] = []
    for step in steps:
        visits.append(step.visit)
        found.append(torch.isfinite(step.estimate.clean).all())
        if found[-1].is_cpu and not found[-1]:
            break
        yield step
    for number, finite in enumerate(torch.stack(found).cpu().tolist()):
        if not finite:
            raise NotFiniteError(stage, number + 1, visits[number].role, visits[number].t)

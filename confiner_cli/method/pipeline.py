"""From denoisers to refined latents: one structure, one window at a time, and both as streams.

Nothing here knows files, configs or diffusers. A structure depends on the one before it, a window on the structures it
has frames of and on nothing else: what is computed where, and in which order, changes no bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from confiner_cli.config.schema import LongVideoSettings, SchedulerSettings
from confiner_cli.errors import NotFiniteError
from confiner_cli.method.long.coherence import Coherent
from confiner_cli.method.long.pingpong import Anchored, joint
from confiner_cli.method.long.prompt_travel import for_frames
from confiner_cli.method.long.shuffling import initial_noise, order
from confiner_cli.method.long.timeline import Span, Timeline, numbers
from confiner_cli.method.noise import frames_noise
from confiner_cli.method.refinement import HOP_NOISE, Pair, patterns, refine, visits
from confiner_cli.method.structure import SPACINGS, Grid, sample
from confiner_cli.method.walk import Denoiser, Step, Visit

Watch = Callable[[str, Iterator[Step], int], Iterable[Step]]
"""Wraps a walk: gets the stage's name, the steps and how many there will be, and passes the steps on."""


@dataclass(frozen=True)
class Structure:
    """A coarse segment.

    Attributes:
        number: which, from 0.
        latents: `(1, channel, frame, height, width)`, as the video shows them.
        noises: by step from 0, the noise that the walk stepped with, in its own order of frames, where
            the next segment hears it.
        backwards: whether the video shows it backwards.
    """

    number: int
    latents: Tensor
    noises: Mapping[int, Tensor] = field(default_factory=dict)
    backwards: bool = False


@dataclass(frozen=True)
class Plan:
    """All that decides the latents.

    Attributes:
        denoisers: by role, then by the frame from which on each prompt holds (0 is among them).
        scheduler: both stages' settings, checked.
        timeline: where structures and windows lie.
        shape: `(channel, height, width)` of one frame's latents.
        seed: what all noise is keyed by.
        long_video: how segments follow each other.
        given: makes the latents of a structure's span, where a video is given instead of sampled.
    """

    denoisers: Mapping[str, Mapping[int, Denoiser]]
    scheduler: SchedulerSettings
    timeline: Timeline
    shape: tuple[int, int, int]
    seed: int
    long_video: LongVideoSettings = field(default_factory=LongVideoSettings)
    given: Callable[[Span], Tensor] | None = None

    @property
    def follows(self) -> bool:
        """Whether a structure depends on the one before it."""
        return self.given is None and (self.long_video.coherence > 0 or bool(self.long_video.turn))

    @property
    def structure_evaluations(self) -> int:
        """How many evaluations a structure takes."""
        return 0 if self.given else self.scheduler.structure.num_inference_steps

    def grid(self, denoiser: Denoiser) -> Grid:
        """The timesteps of the structure stage."""
        settings = self.scheduler.structure
        return SPACINGS[settings.timestep_spacing](denoiser.schedule, settings.num_inference_steps)

    def visits(self, span: Span) -> list[Visit]:
        """The visits of a window's refinement; empty where the structure is the result."""
        settings = self.scheduler.refinement
        if not settings.num_inference_steps:
            return []  # one expert alone: the others may not even be loaded
        pair = Pair(
            for_frames(self.denoisers["spatial"], span),
            for_frames(self.denoisers["temporal"], span),
            hop_noise=HOP_NOISE.get(settings.hop_noise, settings.hop_noise),
            match_snr=settings.timestep_matching == "snr",
        )
        return visits(pair, settings.te, patterns(settings.pattern, settings.num_inference_steps))

    def initial_noise(self, segment: int) -> Tensor:
        """The noise that a structure starts from, `(1, channel, frame, height, width)`, standard normal."""
        return initial_noise(
            self.shape,
            self.timeline.length,
            self.seed,
            segment,
            self.long_video.consistency,
            self.long_video.shuffle,
        )

    def hop_noise(self, window: int, visit: int, role: str) -> Tensor:
        """Fresh noise of a window for the arrival at a visit of `role`, keyed by the video's frames: windows agree."""
        own = () if self.long_video.noise_by == "frame" else (window,)
        shared = role == "spatial" and self.scheduler.refinement.frame_noise == "shared"
        keys = (0 if shared else frame for frame in self.timeline.refines(window).frames)
        return frames_noise(self.shape, keys, self.seed, "refinement", *own, visit)


def structure(plan: Plan, number: int, previous: Structure | None, watch: Watch) -> Structure:
    """Make structure `number`. `previous` is the one before it; only where `plan.follows` is it asked."""
    if plan.given:
        return Structure(number, plan.given(plan.timeline.structure(number)))
    role, denoiser, backwards = plan.scheduler.structure.expert, _prompted(plan, number), False
    grid = plan.grid(denoiser)
    denoisers = [denoiser] * len(grid.timesteps)
    if number and plan.follows:
        assert previous is not None and previous.number == number - 1
        denoisers, backwards = _following(plan, previous, denoisers)
    noises = {}
    steps = _finite("structure", sample(plan.initial_noise(number), denoisers, role, grid))
    for index, step in enumerate(watch("structure", steps, len(denoisers))):
        if plan.long_video.coherence:
            noises[index] = step.estimate.noise
    return Structure(number, step.x_t.flip(2) if backwards else step.x_t, noises, backwards)


def _following(
    plan: Plan, previous: Structure, denoisers: Sequence[Denoiser]
) -> tuple[list[Denoiser], bool]:
    """Each step's denoiser of the structure that follows `previous`, and whether that is played backwards."""
    heard, gamma = list(denoisers), plan.long_video.coherence
    if gamma:
        noises = _aligned(plan, previous)
        heard = [Coherent(one, noises[index], gamma) for index, one in enumerate(denoisers)]
    if not plan.long_video.turn or denoisers[0] is not _prompted(plan, previous.number):
        return heard, False  # another prompt starts afresh
    backwards, target, weight = joint(previous.latents, previous.backwards)
    return [Anchored(one, target, weight) for one in heard], backwards


def _prompted(plan: Plan, number: int) -> Denoiser:
    """The denoiser of a structure: it has the prompt of its start."""
    start = plan.timeline.structure(number).start
    return for_frames(plan.denoisers[plan.scheduler.structure.expert], Span(start, start + 1))


def window(plan: Plan, number: int, draft: Tensor, watch: Watch) -> Tensor:
    """Refine window `number`. `draft` is the structures' frames `plan.timeline.refines(number)`, and so is the result.

    Shapes are `(1, channel, frame, height, width)`.
    """
    stops = plan.visits(plan.timeline.refines(number))
    if not stops:
        return draft
    steps = refine(draft, stops, lambda visit: plan.hop_noise(number, visit, stops[visit].role))
    return deque(watch("refinement", _finite("refinement", steps), len(stops)), maxlen=1)[0].x_t


def draft(timeline: Timeline, span: Span, latents: Mapping[int, Tensor]) -> Tensor:
    """The frames of a span, cut from the structures that have them, by number."""
    wanted = timeline.structures_of(span)
    first = timeline.structure(wanted[0]).start
    return torch.cat([latents[number] for number in wanted], dim=2)[
        :, :, span.start - first : span.stop - first
    ]


def decided(timeline: Timeline, number: int, refined: Tensor, before: Tensor | None) -> Tensor:
    """The video's frames that window `number` decides: those it shares with the window before it are cross-faded.

    Args:
        timeline: where the windows lie.
        number: the window's.
        refined: all that it refined.
        before: all that the window before it refined; not needed for the first, or without an overlap.
    """
    shared = timeline.overlap if number else 0
    if shared:
        assert before is not None
        weight = (torch.arange(1, shared + 1) / (shared + 1)).to(refined).view(-1, 1, 1)
        faded = torch.lerp(before[:, :, -shared:], refined[:, :, :shared], weight)
        refined = torch.cat((faded, refined[:, :, shared:]), dim=2)
    return refined[:, :, : len(timeline.window(number))]


def structures(plan: Plan, watch: Watch) -> Iterator[Structure]:
    """Sample the timeline's structures one after another."""
    made: Structure | None = None
    for number in numbers(plan.timeline.structure_count):
        made = structure(plan, number, made, watch)
        yield made


def refined(plan: Plan, drafts: Iterable[Structure], watch: Watch) -> Iterator[Tensor]:
    """Refine a stream of structures, holding no more of them than a window needs; the parts are the video's frames.

    Shapes are `(1, channel, frame, height, width)`, the frames of one window after another.
    """
    source, held, before = iter(drafts), dict[int, Tensor](), None
    for number in numbers(plan.timeline.window_count):
        span = plan.timeline.refines(number)
        wanted = plan.timeline.structures_of(span)
        while wanted[-1] not in held:
            made = next(source)
            held[made.number] = made.latents
        held = {key: latents for key, latents in held.items() if key >= wanted[0]}
        finished = window(plan, number, draft(plan.timeline, span, held), watch)
        yield decided(plan.timeline, number, finished, before)
        before = finished


def _aligned(plan: Plan, previous: Structure) -> Mapping[int, Tensor]:
    """The previous segment's noises, each frame where this segment has it: at its index, or at its base noise's."""
    if plan.long_video.align == "frame":
        return previous.noises
    length, seed, shuffle = plan.timeline.length, plan.seed, plan.long_video.shuffle
    undo = torch.argsort(order(length, seed, previous.number, shuffle))
    places = undo[order(length, seed, previous.number + 1, shuffle)]
    return {step: eps[:, :, places] for step, eps in previous.noises.items()}


def _finite(stage: str, steps: Iterator[Step]) -> Iterator[Step]:
    for number, step in enumerate(steps, start=1):
        if not torch.isfinite(step.estimate.clean).all():
            raise NotFiniteError(stage, number, step.visit.role, step.visit.t)
        yield step

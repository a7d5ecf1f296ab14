"""How windows take their drafts from structures, and a video its frames from windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor

from confiner_cli.method.long.timeline import Span, Timeline
from confiner_cli.method.pipeline import Structure, cross_fade, cut_draft
from confiner_cli.runs.arriving import Part, first_frames

Frames: TypeAlias = list[Iterable[Part]]
"""For each sample of a batch its frames, decoded as they are taken."""
Decode: TypeAlias = Callable[[Tensor], Iterable[Part]]
"""Latents `(1, channel, frame, height, width)` to frames, a few at a time."""


class Joining(Protocol):
    """What is between the walks of a long video."""

    @property
    def source(self) -> Callable[[Span], Tensor] | None:
        """The frames of a given video, where windows take their drafts straight from it."""

    def draft(self, number: int, structures: Mapping[int, Structure]) -> Tensor:
        """What window `number` refines, `(sample, channel, frame, height, width)`.

        Args:
            number: which window, from 0.
            structures: by number, those that the task graph says it needs.
        """

    def frames(self, number: int, refined: Tensor, before: Tensor | None) -> Frames:
        """The frames that window `number` decides.

        Those that it shares with the window before go over from that one's to its own.

        Args:
            number: which window, from 0.
            refined: all that it refined, shaped like its draft.
            before: all that the window before refined; None for the first, or without an overlap.
        """


@dataclass(frozen=True)
class InLatents:
    """Structures are cut and windows cross-faded as latents, each of which is a frame.

    Attributes:
        timeline: where structures and windows lie.
        decode: makes frames of a window's latents.
    """

    timeline: Timeline
    decode: Decode
    source: None = None

    def draft(self, number: int, structures: Mapping[int, Structure]) -> Tensor:
        """See `Joining`."""
        latents = {each: structure.latents for each, structure in structures.items()}
        return cut_draft(self.timeline, self.timeline.refines(number), latents)

    def frames(self, number: int, refined: Tensor, before: Tensor | None) -> Frames:
        """See `Joining`."""
        faded = cross_fade(self.timeline, number, refined, before)
        return [self.decode(sample[None]) for sample in faded]


@dataclass(frozen=True)
class Whole:
    """One structure is refined in one window: its latents are handed on as they are.

    Attributes:
        timeline: of one structure.
        decode: makes frames of the window's latents, which may be more than the video has.
    """

    timeline: Timeline
    decode: Decode
    source: None = None

    def draft(self, number: int, structures: Mapping[int, Structure]) -> Tensor:
        """See `Joining`."""
        return structures[number].latents

    def frames(self, number: int, refined: Tensor, before: Tensor | None) -> Frames:  # noqa: ARG002
        """See `Joining`."""
        count = len(self.timeline.window(number))
        return [first_frames(self.decode(sample[None]), count) for sample in refined]

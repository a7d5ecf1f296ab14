"""Structures and windows joined as frames, where latents cannot be cut.

A latent of a causal video coder means several frames, given all before them; and what is not in the
windows' latent space has to come through frames anyway. A window's draft is decoded, cut and
encoded once, whatever its place in the video, so nothing adds up from window to window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeAlias

import torch
from torch import Tensor

from confiner_cli.method.long.timeline import Span, Timeline
from confiner_cli.method.pipeline import Structure
from confiner_cli.runs.joining import Decode, Frames
from confiner_cli.runs.tasks import Kind, Task

Encode: TypeAlias = Callable[[Tensor], Tensor]
"""Frames `(frame, height, width, 3)`, uint8, to latents `(1, channel, frame, height, width)`."""
KEPT = 4
"""How many structures and windows stay decoded: three structures of a window, as many as one that
is cut at seams has frames of, and the window before."""


@dataclass(frozen=True)
class InFrames:
    """Structures are cut and windows cross-faded as frames.

    Attributes:
        timeline: where structures and windows lie.
        decode_draft: makes frames of a structure's latents.
        encode: makes a window's latents of frames.
        decode: makes frames of a window's latents.
        source: the frames of a span of a video that is given, if one is: windows take their drafts
            from them, and not from structures.
    """

    timeline: Timeline
    decode_draft: Decode
    encode: Encode
    decode: Decode
    source: Callable[[Span], Tensor] | None = None
    _decoded: dict[Task, list[Tensor]] = field(default_factory=dict, repr=False)

    def draft(self, number: int, structures: Mapping[int, Structure]) -> Tensor:
        """See `joining.Joining`. Beyond the last structure its last frame stands still."""
        span = self.timeline.refines(number)
        if self.source is not None:
            return self.encode(self.source(span))
        frames = [
            self._frames(Task(Kind.STRUCTURE, each), structure.latents, self.decode_draft)
            for each, structure in sorted(structures.items())
        ]
        first = self.timeline.structure(min(structures)).start
        own = slice(span.start - first, span.stop - first)
        samples = (torch.cat(parts)[own] for parts in zip(*frames, strict=True))
        return torch.cat([self.encode(_held(sample, len(span))) for sample in samples])

    def frames(self, number: int, refined: Tensor, before: Tensor | None) -> Frames:
        """See `joining.Joining`."""
        own = self._frames(Task(Kind.WINDOW, number), refined, self.decode)
        if before is not None:
            earlier = self._frames(Task(Kind.WINDOW, number - 1), before, self.decode)
            own = [self._faded(number, one, other) for one, other in zip(earlier, own, strict=True)]
        count = len(self.timeline.window(number))
        return [[sample[:count]] for sample in own]

    def _faded(self, number: int, before: Tensor, frames: Tensor) -> Tensor:
        """The frames of a window, which go over from the one before where they share some."""
        shared, timeline = self.timeline.overlap, self.timeline
        start = timeline.refines(number).start - timeline.refines(number - 1).start
        # Even steps that leave out 0 and 1: both windows have a say in every frame they share.
        weight = torch.arange(1, shared + 1).view(-1, 1, 1, 1) / (shared + 1)
        own = frames[:shared].float()
        faded = torch.lerp(before[start : start + shared].float(), own, weight)
        return torch.cat((faded.round().to(torch.uint8), frames[shared:]))

    def _frames(self, task: Task, latents: Tensor, decode: Decode) -> list[Tensor]:
        """For each sample the frames of a task's latents, `(frame, height, width, 3)`, uint8.

        Neighbours ask for the same ones, one after another.
        """
        if task not in self._decoded:
            self._decoded[task] = [
                torch.stack(list(chain.from_iterable(decode(sample[None])))) for sample in latents
            ]
            while len(self._decoded) > KEPT:
                del self._decoded[next(iter(self._decoded))]
        return self._decoded[task]


def _held(frames: Tensor, count: int) -> Tensor:
    """So many frames: those that there are, then the last one."""
    return torch.cat((frames, frames[-1:].expand(count - len(frames), -1, -1, -1)))

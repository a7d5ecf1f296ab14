"""A run as a list of tasks: what each needs, and what needs it. Values only: they pickle.

A result depends on the results that its task needs and on the job, and on nothing else. So tasks
can be done in any order that their needs allow, by any number of workers, to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from confiner_cli.method.long.timeline import Span, Timeline, count_up


class Kind(StrEnum):
    """What a task makes.

    STRUCTURE: the latents of structure n, with what the next one has to know of it.
    WINDOW: all latents that window n refines.
    PREVIEW: the frames of structure n, a chunk of structure.mp4.
    CHUNK: the frames that window n decides, a chunk of video.mp4.
    """

    STRUCTURE = "structure"
    WINDOW = "window"
    PREVIEW = "preview"
    CHUNK = "chunk"


USED_BY = {
    Kind.STRUCTURE: (Kind.STRUCTURE, Kind.WINDOW, Kind.PREVIEW),
    Kind.WINDOW: (Kind.CHUNK,),
}
"""The kinds of tasks that need a result; nothing needs that of others, which are frames."""
LATENTS = tuple(USED_BY)
"""Kinds whose results only serve other tasks: they may go when these are done."""


@dataclass(frozen=True)
class Task:
    """One step of a run; its result has the same kind and number."""

    kind: Kind
    number: int


def shown_by(task: Task, timeline: Timeline) -> Span:
    """The frames of the video that a preview or a chunk shows."""
    if task.kind is Kind.CHUNK:
        return timeline.window(task.number)
    whole = timeline.structure(task.number)
    return Span(whole.start, int(min(whole.stop, timeline.num_frames)))


@dataclass(frozen=True)
class TaskGraph:
    """All tasks of a run.

    Attributes:
        timeline: where structures and windows lie.
        follows: whether a structure depends on the one before it.
        previewed: whether structures are shown.
        drafted: whether windows take their drafts from structures, which are shown, and not from
            a video.
    """

    timeline: Timeline
    follows: bool
    previewed: bool = True
    drafted: bool = True

    def needs(self, task: Task) -> tuple[Task, ...]:
        """The tasks whose results a task is made of."""
        number = task.number
        match task.kind:
            case Kind.STRUCTURE:
                return (Task(Kind.STRUCTURE, number - 1),) if self.follows and number else ()
            case Kind.WINDOW | Kind.PREVIEW if not self.drafted:
                return ()
            case Kind.WINDOW:
                structures = self.timeline.structures_of(self.timeline.refines(number))
                return tuple(Task(Kind.STRUCTURE, each) for each in structures)
            case Kind.PREVIEW:
                return (Task(Kind.STRUCTURE, number),)
            case Kind.CHUNK:
                # Frames that two windows refine are cross-faded, and belong to the second.
                first = number - 1 if number and self.timeline.overlap else number
                return tuple(Task(Kind.WINDOW, each) for each in range(first, number + 1))

    def users(self, task: Task) -> tuple[Task, ...]:
        """The tasks that need a task's result; none for frames, which are the run's own result."""
        kinds = USED_BY.get(task.kind, ())
        near = range(max(0, task.number - 1), task.number + 2)  # no window reaches farther
        candidates = [Task(kind, number) for kind in kinds for number in near]
        return tuple(each for each in candidates if self._exists(each) and task in self.needs(each))

    def goals(self) -> Iterator[Task]:
        """What a run is for, in the order in which it can be watched: previews come first.

        Without end for a video without one.
        """
        shown = 0
        for number in count_up(self.timeline.window_count):
            needed = self.timeline.structures_of(self.timeline.refines(number))
            if self.previewed:
                yield from (Task(Kind.PREVIEW, each) for each in range(shown, needed.stop))
            yield Task(Kind.CHUNK, number)
            shown = max(shown, needed.stop)

    def _exists(self, task: Task) -> bool:
        if task.kind is Kind.PREVIEW and not self.previewed:
            return False
        of_structures = task.kind in (Kind.STRUCTURE, Kind.PREVIEW)
        count = self.timeline.structure_count if of_structures else self.timeline.window_count
        return task.number < count

"""What a GPU has made is written down while it does what comes next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from confiner_cli.method.pipeline import Structure
from confiner_cli.method.transfer import Arrival, sent
from confiner_cli.runs.executor import Store
from confiner_cli.runs.joining import Frames
from confiner_cli.runs.perform import Latents, Result
from confiner_cli.runs.tasks import Task


@dataclass
class WriteBehind:
    """A store in front of another one, which takes results on the CPU.

    To write takes as long as the disk takes, and the GPU would be idle meanwhile. So the latents
    that it has made last are held until `flush`, which is for the moment when it has been told what
    to do next. Whoever needs them until then has them from here. Latents of the CPU are written at
    once.

    Attributes:
        store: where results go.
        before: is called before latents are written.
    """

    store: Store[Result]
    before: Callable[[], None]
    _held: tuple[Task, Latents, Arrival] | None = field(default=None, repr=False)

    def has(self, task: Task) -> bool:
        """Whether a result is here, whole."""
        return self._holds(task) or self.store.has(task)

    def get(self, task: Task) -> Result:
        """The result of a task of latents that is here: on the GPU, if it is held."""
        if self._held is not None and self._held[0] == task:
            return self._held[1]
        return self.store.get(task)

    def put(self, task: Task, result: Result) -> None:
        """Take a result."""
        if isinstance(result, list):
            self._put_frames(task, result)
            return
        self.flush()
        packed = _packed(result)
        self._held = task, result, sent(packed)
        if not packed.is_cuda:
            self.flush()

    def _put_frames(self, task: Task, frames: Frames) -> None:
        """Frames are decoded as they are taken: then there is something that the GPU does next."""
        try:
            self.store.put(task, frames)
        finally:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._held is not None:
            (task, result, arrival), self._held = self._held, None
            (packed,) = arrival.wait()
            self.before()
            self.store.put(task, _unpacked(result, packed))

    def latents(self) -> Sequence[Task]:
        """The tasks of latents whose results are here."""
        held = [] if self._held is None else [self._held[0]]
        return [*self.store.latents(), *held]

    def discard(self, task: Task) -> None:
        """Nothing needs this result any more."""
        if self._holds(task):
            self.flush()
        self.store.discard(task)

    def _holds(self, task: Task) -> bool:
        return self._held is not None and self._held[0] == task


def _packed(result: Latents) -> Tensor:
    """All tensors of a result in one: it is copied once, whatever a structure holds."""
    if isinstance(result, Tensor):
        return result
    return torch.stack([result.latents, *result.noises.values()])


def _unpacked(result: Latents, packed: Tensor) -> Latents:
    """The result with the tensors that were packed."""
    if not isinstance(result, Structure):
        return packed
    latents, *noises = packed
    named = dict(zip(result.noises, noises, strict=True))
    return replace(result, latents=latents, noises=named)

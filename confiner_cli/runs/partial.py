"""What is kept of an unfinished run on disk, so that it can go on after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from confiner_cli.files import UNFINISHED, remove_unfinished
from confiner_cli.method.pipeline import Structure
from confiner_cli.runs.arriving import Part
from confiner_cli.runs.journal import Journal
from confiner_cli.runs.perform import Result
from confiner_cli.runs.tasks import LATENTS, Kind, Task
from confiner_cli.weights.tensors import save_tensors

FOLDER = "parts"
LATENTS_KEY = "latents"
BACKWARDS_KEY = "backwards"
NOISE_KEY = "noise."
CHUNK_OF = {Kind.PREVIEW: "structure", Kind.CHUNK: "video"}
"""The video that the frames of a task are a chunk of."""

Encode = Callable[[Task, Iterable[Part]], None]


@dataclass(frozen=True)
class PartialRun:
    """The folder `parts` of one run: a store of results (`executor.Store`) of one sample each.

    Latents are safetensors files, frames are chunks of videos. A file counts once it is in the
    journal and has the bytes that it had then.

    Attributes:
        folder: where the files are.
        journal: which of them are finished.
        encode: is handed the frames of a task; they are here when they are encoded.
        keep: whether latents stay when nothing needs them any more.
        whole: the tasks whose frames are all of a video; their results are the finished files.
    """

    folder: Path
    journal: Journal
    encode: Encode
    keep: bool = False
    whole: Mapping[Task, Path] = field(default_factory=dict)

    def has(self, task: Task) -> bool:
        """Whether a result is here, whole."""
        return self.journal.has(self.path(task))

    def get(self, task: Task) -> Result:
        """The latents that a task has made."""
        tensors = load_file(self.path(task))
        latents: Tensor = tensors.pop(LATENTS_KEY)
        if task.kind is Kind.WINDOW:
            return latents
        backwards = tensors.pop(BACKWARDS_KEY)
        noises = {int(key.removeprefix(NOISE_KEY)): eps for key, eps in tensors.items()}
        return Structure(task.number, latents, noises, tuple(backwards.bool().tolist()))

    def put(self, task: Task, result: Result) -> None:
        """Write latents down; hand frames over to be encoded."""
        if isinstance(result, list):
            self.encode(task, result[0])
            return
        path = self.path(task)
        # The line comes last: a file without one is made again, a line without its file would lie.
        save_tensors(_tensors(result), path)
        self.journal.add(path)

    def latents(self) -> list[Task]:
        """The tasks whose latents are here, and go when nothing needs them: none, if they stay."""
        if self.keep:
            return []
        tasks = []
        for path in sorted(self.folder.glob("*.safetensors")):
            kind, _, number = path.stem.rpartition("-")
            if kind in LATENTS and number.isdecimal():
                tasks.append(Task(Kind(kind), int(number)))
        return tasks

    def discard(self, task: Task) -> None:
        """Remove latents, unless they are kept."""
        if not self.keep:
            self.path(task).unlink(missing_ok=True)

    def path(self, task: Task) -> Path:
        """Where a task's result goes."""
        if task in self.whole:
            return self.whole[task]
        if task.kind in LATENTS:
            return self.folder / f"{task.kind}-{task.number:06}.safetensors"
        return self.folder / f"{CHUNK_OF[task.kind]}-{task.number:06}.mp4"

    def chunks(self, kind: Kind) -> list[Path]:
        """The finished chunks of a video from the first one on, as far as there is no gap."""
        number = 0
        while self.has(Task(kind, number)):
            number += 1
        return [self.path(Task(kind, each)) for each in range(number)]


def opened(run: Path) -> tuple[Path, Journal]:
    """The folder of a run's parts and its journal; what a killed process was writing is removed."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    for path in (*run.glob(UNFINISHED), *folder.glob(UNFINISHED)):
        remove_unfinished(path)
    return folder, Journal(folder)


def has_latents(run: Path) -> bool:
    """Whether a run folder has some that it could go on from."""
    return any((run / FOLDER).glob("*.safetensors"))


def remove(run: Path) -> None:
    """Remove the parts of a run that is done, and what a killed process was writing."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)
    for path in run.glob(UNFINISHED):
        remove_unfinished(path)


def _tensors(result: Structure | Tensor) -> dict[str, Tensor]:
    """A result of one sample as named float32 tensors."""
    if isinstance(result, Tensor):
        return {LATENTS_KEY: result.float().contiguous()}
    named = {f"{NOISE_KEY}{step}": eps for step, eps in result.noises.items()}
    named[LATENTS_KEY] = result.latents
    named[BACKWARDS_KEY] = torch.tensor(result.backwards)
    return {name: tensor.float().contiguous() for name, tensor in named.items()}

"""What is kept of an unfinished run, so that it can go on after a kill: latents, and parts of videos."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from confiner_cli.media.video import temporary_beside
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.method.pipeline import Structure
from confiner_cli.runs.journal import Journal

FOLDER = "parts"
BACKWARDS = "backwards"


@dataclass(frozen=True)
class Checkpoints:
    """The folder `parts` of a run.

    A structure's latents stay until its windows are refined, its noises until the next structure is made, a window's
    latents until its frames and those of the next are encoded; `keep` lets all latents stay.
    """

    folder: Path
    timeline: Timeline
    journal: Journal
    keep: bool = False

    @classmethod
    def of(cls, run: Path, timeline: Timeline, keep: bool = False) -> Checkpoints:
        """Those of a run folder; what a killed process was writing is removed."""
        folder = run / FOLDER
        folder.mkdir(exist_ok=True)
        for path in (*run.glob(".*.writing*"), *folder.glob(".*.writing*")):
            path.unlink(missing_ok=True)
        return cls(folder, timeline, Journal(folder), keep)

    def structure(self, number: int) -> Tensor | None:
        """The latents of a structure, `(1, channel, frame, height, width)`, if they are here."""
        return self._latents(self._path("structure", number))

    def newest(self, number: int) -> Structure | None:
        """Structure `number` with what the next one hears of it, if all is here: only the newest has it."""
        latents, heard = self.structure(number), self._path("noises", number)
        if latents is None or not self.journal.has(heard):
            return None
        noises = load_file(heard)
        backwards = tuple(noises.pop(BACKWARDS).bool().tolist())
        return Structure(
            number, latents, {int(step): eps for step, eps in noises.items()}, backwards
        )

    def keep_structure(self, made: Structure) -> None:
        """Write a structure down; what the next one hears too, in the place of the others, if it is the newest."""
        files = [self._write(self._path("structure", made.number), {"latents": made.latents})]
        heard = self._path("noises", made.number)
        others = [path for path in self.folder.glob("noises-*.safetensors") if path != heard]
        if not any(path > heard and self.journal.has(path) for path in others):
            noises = {str(step): eps for step, eps in made.noises.items()}
            files.append(self._write(heard, noises | {BACKWARDS: torch.tensor(made.backwards)}))
        self.journal.add(*files)
        for path in others if len(files) > 1 else ():
            path.unlink(missing_ok=True)

    def window(self, number: int) -> Tensor | None:
        """All that a window refined, `(1, channel, frame, height, width)`, if it is here."""
        return self._latents(self._path("window", number))

    def keep_window(self, number: int, refined: Tensor) -> None:
        """Write down all that a window refined."""
        self.journal.add(self._write(self._path("window", number), {"latents": refined}))

    def part(self, video: str, number: int) -> Path:
        """Where part `number` of a video, `structure` or `video`, goes: the frames of a structure or a window."""
        return self._path(video, number).with_suffix(".mp4")

    def has_part(self, video: str, number: int) -> bool:
        """Whether that part is finished."""
        return self.journal.has(self.part(video, number))

    def parts(self, video: str) -> list[Path]:
        """The finished parts of a video from the first one on, as far as there is no gap."""
        number = 0
        while self.has_part(video, number):
            number += 1
        return [self.part(video, done) for done in range(number)]

    def tidy(self, number: int) -> None:
        """With window `number` refined, remove the latents that nothing after it needs."""
        if self.keep:
            return
        first = self.timeline.refines(number + 1).start // self.timeline.length
        for kind, video, end in (("structure", "structure", first), ("window", "video", number)):
            for path in sorted(self.folder.glob(f"{kind}-*.safetensors")):
                its = int(path.stem.rpartition("-")[2])
                if (
                    its < end
                    and self.has_part(video, its)
                    and (kind == "structure" or self.has_part(video, its + 1))
                ):
                    path.unlink()

    @staticmethod
    def there(run: Path) -> bool:
        """Whether a run folder has some that it could go on from."""
        return any((run / FOLDER).glob("*.safetensors"))

    @staticmethod
    def remove(run: Path) -> None:
        """Remove those of a run that is done, and what a killed process was writing."""
        shutil.rmtree(run / FOLDER, ignore_errors=True)
        for path in run.glob(".*.writing*"):
            path.unlink(missing_ok=True)

    def _path(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}-{number:06}.safetensors"

    def _latents(self, path: Path) -> Tensor | None:
        return load_file(path)["latents"] if self.journal.has(path) else None

    def _write(self, path: Path, tensors: dict[str, Tensor]) -> Path:
        with temporary_beside(path) as temporary:
            save_file(
                {name: tensor.float().contiguous() for name, tensor in tensors.items()}, temporary
            )
        return path

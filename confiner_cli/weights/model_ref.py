"""Where a model is, as a person writes it, and what is needed of it.

A folder, a file, `embedded:NAME`, or `owner/name[@revision][:file]` on the hub.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PICKLES = (".pt", ".pth", ".ckpt", ".bin")
"""Suffixes of checkpoints that are pickles."""
WEIGHTS = (".safetensors", *PICKLES)
"""What a file's name ends with, and no repository's: there it comes after a colon."""
EMBEDDED = Path(__file__).resolve().parents[1] / "embedded"
PACKAGED = "embedded"
"""What names of models that come with the package begin with."""
_ON_HUB = re.compile(
    r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[^:]+))?", re.ASCII
)


@dataclass(frozen=True)
class ModelRef:
    """A model's place.

    Attributes:
        path: where it is on this machine; None for a model on the hub.
        repo: `owner/name` on the hub.
        revision: a branch, a tag or a commit.
        file: a single file in the repository; all of it where this is empty.
    """

    path: Path | None = None
    repo: str = ""
    revision: str = "main"
    file: str = ""

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        revision = "" if self.revision == "main" else f"@{self.revision}"
        file = f":{self.file}" if self.file else ""
        return f"{self.repo}{revision}{file}"


def converted(path: Path) -> Path:
    """Where `confiner experts convert` puts a checkpoint as safetensors: beside the pickle."""
    return path.with_suffix(".safetensors")


def present(path: Path) -> Path | None:
    """What there is on this machine of a path: itself, or what it was converted to."""
    if path.exists():
        return path
    instead = converted(path)
    return instead if path.suffix in PICKLES and instead.is_file() else None


def model_ref(text: str) -> ModelRef:
    """Read what `model=` says.

    What exists on this machine is meant before what may be on the hub.
    """
    kind, _, name = text.partition(":")
    if kind == PACKAGED:
        return ModelRef(EMBEDDED / name)
    path, match = Path(text).expanduser(), _ON_HUB.fullmatch(text)
    if match is None or present(path) is not None or match["repo"].endswith(WEIGHTS):
        return ModelRef(path)
    revision, file = match["revision"] or "main", match["file"] or ""
    return ModelRef(repo=match["repo"], revision=revision, file=file)


def absolute(text: str) -> str:
    """The same place, from whatever folder it is read: a path of this machine written out."""
    path = model_ref(text).path
    return text if path is None or text.startswith(f"{PACKAGED}:") else str(path.absolute())


@dataclass(frozen=True)
class Requirement:
    """A model that has to be on this machine.

    Attributes:
        ref: where it is.
        components: what is needed of it where it is a pipeline folder: `unet`, `vae`, ...
        pickles: whether its weights may be pickles where there is nothing else.
    """

    ref: ModelRef
    components: tuple[str, ...] = ()
    pickles: bool = False

"""Where a model is, as a person writes it: a folder, a file, `embedded:NAME`, or `owner/name[@revision][:file]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from confiner_cli.config.schema import ExpertSettings

EMBEDDED = Path(__file__).resolve().parents[1] / "embedded"
NETWORKS = ("unet", "motion_adapter", "scheduler")
TEXT = ("text_encoder", "tokenizer")
PICTURE = ("vae",)
_ON_HUB = re.compile(
    r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[^:]+))?", re.ASCII
)


@dataclass(frozen=True)
class Source:
    """A model's place: `path` where it is on this machine, else a repository of the hub, and a single file in it."""

    path: Path | None = None
    repo: str = ""
    revision: str = "main"
    file: str = ""

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"{self.repo}{revision}" + (f":{self.file}" if self.file else "")


def source(model: str) -> Source:
    """Read what `model=` says. What exists on this machine is meant before what may be on the hub."""
    kind, _, name = model.partition(":")
    if kind == "embedded":
        return Source(EMBEDDED / name)
    path, match = Path(model).expanduser(), _ON_HUB.fullmatch(model)
    if match is None or path.exists():
        return Source(path)
    return Source(
        repo=match["repo"], revision=match["revision"] or "main", file=match["file"] or ""
    )


@dataclass(frozen=True)
class Need:
    """A model that an expert needs, the parts of a pipeline that it needs of it, and whether they may be pickles."""

    source: Source
    parts: tuple[str, ...]
    pickles: bool = False


def needs(role: str, expert: ExpertSettings) -> Iterator[tuple[str, Need]]:
    """What an expert is made of, by the name of its setting. The VAE comes with the spatial expert."""
    shared = (*TEXT, *PICTURE) if role == "spatial" else TEXT
    yield "model", Need(source(expert.model), (*NETWORKS, *shared), expert.pickles)
    if expert.shared:
        yield "shared", Need(source(expert.shared), shared, expert.pickles)
    if expert.motion_adapter:
        yield "motion_adapter", Need(source(expert.motion_adapter), ())
    for lora in expert.loras:
        yield "loras", Need(source(lora.path), ())

"""The run folder: made once, uniquely; run.json replaced whole, events and log appended, finished files hashed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.fingerprint import sha256
from confiner_cli.settings import Settings
from confiner_cli.video import temporary_beside

BLOCK = 512
PACKAGES = ("confiner", "torch", "diffusers", "transformers", "peft", "hydra-core", "imageio-ffmpeg")


@dataclass(frozen=True)
class Place:
    """Where a folder goes: under `root`, named by a job's number or the time; or, with `exact`, the root itself."""

    root: Path
    prefix: str | None = None
    exact: bool = False

    @classmethod
    def of(cls, kind: str, chosen: str | None) -> Place:
        """The folder that is chosen, else one in `outputs/<date>` or `multirun/<date>`, whichever the kind is."""
        if chosen:
            return cls(Path(chosen).expanduser().absolute(), exact=True)
        return cls(Path(kind).absolute() / datetime.now().strftime("%Y-%m-%d"))

    def make(self, name: str = "") -> Path:
        """Make the folder and return its absolute path.

        Raises:
            ConfinerError: the exact folder is not empty, or cannot be made.
        """
        try:
            return self._exact() if self.exact else self._named(name)
        except OSError as error:
            raise ConfinerError(
                f"cannot make a run folder in {self.root}: {error.strerror}",
                "set output.dir= to a folder you can write to",
            ) from error

    def _exact(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        if any(self.root.iterdir()):
            raise ConfinerError(f"output.dir={self.root} exists and is not empty", "name a new folder")
        return self.root

    def _named(self, name: str) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        prefix = self.prefix or datetime.now().strftime("%H-%M-%S")
        for attempt in ("", *map(str, range(2, 10_000))):
            folder = self.root / "-".join(part for part in (prefix, name, attempt) if part)
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
        raise FileExistsError(17, "all names are taken")


class Record:
    """Writes what is known of a run into its folder."""

    def __init__(self, folder: Path, settings: Settings, snapshots: Mapping[str, str], **facts: Any) -> None:
        """Claim the folder with a first run.json (status running, and the facts).

        Raises:
            ConfinerError: another run has claimed it first.
        """
        self.folder = folder
        self.known: dict[str, Any] = {
            "status": "running",
            "prompt": settings.prompt,
            "negative_prompt": settings.negative_prompt,
            "seed": settings.seed,
            "config": asdict(settings),
            "versions": versions(),
            "started": _now(),
            **facts,
        }
        try:
            with (folder / "run.json").open("x", encoding="utf-8") as file:
                json.dump(self.known, file, indent=2)
        except FileExistsError as error:
            raise in_use(folder) from error
        for name, text in snapshots.items():
            (folder / ".hydra").mkdir(exist_ok=True)
            (folder / ".hydra" / name).write_text(text, encoding="utf-8")

    def update(self, **facts: Any) -> None:
        """Replace run.json, whole, with these facts added."""
        self.known.update(facts)
        path, text = self.folder / "run.json", json.dumps(self.known, indent=2).encode()
        try:
            with temporary_beside(path) as temporary:
                temporary.write_bytes(text)
        except OSError:
            # A full disk has no room for a second file, but the blocks of the first are ours already.
            if path.stat().st_blocks * BLOCK < len(text):
                raise
            with path.open("r+b") as file:
                file.write(text)
                file.truncate()

    def end(self, status: str, **facts: Any) -> None:
        """The last update and event: how the run ended, what is known of it, and the files that are finished."""
        self.update(status=status, **facts, files=self.files())
        self.event(status)
        if status != "done":
            self.log(status)

    def event(self, event: str, **facts: Any) -> None:
        """Append one line to events.jsonl."""
        with (self.folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": _now(), "event": event, **facts}) + "\n")

    def log(self, line: str) -> None:
        """Append one line to run.log."""
        with (self.folder / "run.log").open("a", encoding="utf-8") as file:
            file.write(f"{_now()} {line}\n")

    def files(self) -> dict[str, str]:
        """SHA-256 of the finished artefacts, by name."""
        found = (path for path in sorted(self.folder.iterdir()) if path.suffix in (".mp4", ".png", ".safetensors"))
        return {path.name: sha256(path) for path in found if not path.name.startswith(".")}


def in_use(folder: Path) -> ConfinerError:
    """What to say where another process has claimed the folder first."""
    return ConfinerError(f"output.dir={folder} is in use by another run", "name a new folder")


def recipe(settings: Settings) -> str:
    """What decides the frames, as ASCII JSON: the comment of the video file, which `from=` reads."""
    config = {key: value for key, value in asdict(settings).items() if key != "output"}
    parts = {key: config[key] for key in ("prompt", "negative_prompt", "seed")}
    return json.dumps({**parts, "config": config, "versions": versions()}, ensure_ascii=True)


def read_run(folder: Path) -> dict[str, Any]:
    """The run.json of a run folder. Raises ConfinerError where there is none."""
    try:
        facts: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise TypeError("a record is an object")
    except (OSError, ValueError, TypeError) as error:
        raise ConfinerError(
            f"{folder} is not a run folder: no run.json that can be read", "name a run folder or an MP4"
        ) from error
    return facts


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the frames."""
    return {"python": python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")

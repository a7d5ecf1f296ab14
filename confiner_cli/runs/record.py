"""The run folder: made once, uniquely; run.json replaced whole, events and log appended, finished files hashed."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.files import sha256
from confiner_cli.media.video import temporary_beside
from confiner_cli.runs.lock import NAME as LOCK
from confiner_cli.runs.lock import in_use

RECORD = "run.json"
PROMPTING = ("prompt", "negative_prompt", "prompts", "seed")
PACKAGES = (
    "confiner",
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "hydra-core",
    "imageio-ffmpeg",
)


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

    def make(self, name: str = "", going_on: bool = False) -> Path:
        """Make the folder and return its absolute path.

        With `going_on` the exact folder may have a run in it.

        Raises:
            ConfinerError: the exact folder is not empty, or cannot be made.
        """
        if going_on and not self.exact:
            raise ConfinerError(
                "resume=true does not know which run to go on with", "name it: output.dir=RUN_DIR"
            )
        try:
            return self._exact(going_on) if self.exact else self._named(name)
        except OSError as error:
            raise ConfinerError(
                f"cannot make a run folder in {self.root}: {error.strerror}",
                "set output.dir= to a folder you can write to",
            ) from error

    def _exact(self, going_on: bool) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        unfinished = (self.root / RECORD).is_file()
        # A process that was killed before there was a record may have left these.
        remains = (LOCK, f".{Path(RECORD).stem}.")
        there = [path for path in self.root.iterdir() if not path.name.startswith(remains)]
        if there and not (going_on and unfinished):
            cure = f"name a new folder, or go on with its run: {resume_command(self.root)}"
            raise ConfinerError(
                f"output.dir={self.root} exists and is not empty",
                cure if unfinished else "name a new folder",
            )
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

    def __init__(self, folder: Path, known: Mapping[str, Any]) -> None:
        """Take over a folder and what is known of its run."""
        self.folder = folder
        self.known: dict[str, Any] = dict(known)

    @classmethod
    def new(
        cls, folder: Path, settings: Settings, snapshots: Mapping[str, str], **facts: Any
    ) -> Record:
        """Claim the folder with a first run.json (status running, and the facts).

        Raises:
            ConfinerError: another run has claimed it first.
        """
        chosen = plain(settings)
        record = cls(folder, {
            "status": "running", **{key: chosen[key] for key in PROMPTING}, "config": chosen, "versions": versions(),
            "started": _now(), **facts,
        })  # fmt: skip
        if (folder / RECORD).exists():
            raise in_use(folder)
        record.update()
        for name, text in snapshots.items():
            (folder / ".hydra").mkdir(exist_ok=True)
            (folder / ".hydra" / name).write_text(text, encoding="utf-8")
        return record

    def update(self, **facts: Any) -> None:
        """Replace run.json, whole, with these facts added."""
        self.known.update(facts)
        path, text = self.folder / RECORD, json.dumps(self.known, indent=2).encode()
        try:
            with temporary_beside(path) as temporary:
                temporary.write_bytes(text)
        except OSError:
            # A full disk has no room for a second file, but may have for a few bytes more in this one.
            if not path.exists() or not _rewritten(path, text):
                raise

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
        found = (
            path
            for path in sorted(self.folder.iterdir())
            if path.suffix in (".mp4", ".png", ".safetensors")
        )
        return {path.name: sha256(path) for path in found if not path.name.startswith(".")}


def plain(settings: Settings) -> dict[str, Any]:
    """Settings as JSON has them: keys are text, and a video without an end has `"inf"` frames."""
    chosen: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return chosen | ({"num_frames": "inf"} if settings.num_frames == math.inf else {})


def going_on(settings: Settings) -> Settings:
    """With the seed that the run to go on with has drawn, where the settings leave it to be drawn."""
    if not settings.resume or settings.seed is not None or settings.output.dir is None:
        return settings
    folder = Path(settings.output.dir).expanduser()
    return (
        replace(settings, seed=read_run(folder).get("seed"))
        if (folder / RECORD).is_file()
        else settings
    )


def differences(recorded: Mapping[str, Any], settings: Settings) -> list[str]:
    """The keys in which settings differ from recorded ones, dotted; where a run goes and its comment are left out."""
    before, now = (dict(_leaves(config)) for config in (recorded, plain(settings)))
    keys = sorted({*before, *now} - {"output.dir", "output.metadata", "resume"})
    return [key for key in keys if before.get(key, now.get(key)) != now.get(key)]


def finished(folder: Path, settings: Settings) -> bool:
    """Whether a folder has the run of these settings, finished and untouched.

    Raises:
        ConfinerError: the folder has a run of other settings.
    """
    if not (folder / RECORD).exists():
        return False
    known = read_run(folder)
    if "config" not in known:
        raise ConfinerError(
            f"the run in {folder} was refused before it began", "name a new output.dir="
        )
    stopped = known.get("stopped_at")  # a video without an end has been given one
    changed = differences(
        known["config"], settings if stopped is None else replace(settings, num_frames=stopped)
    )
    if changed:
        raise ConfinerError(
            f"{folder} has a run with other settings: {', '.join(changed)} differ",
            f"name a new output.dir=, or go on with the old settings: {resume_command(folder)}",
        )
    return is_whole(folder, known)


def is_whole(folder: Path, known: Mapping[str, Any]) -> bool:
    """Whether a run is done and all of its files are as they were then."""
    files = {folder / name: digest for name, digest in known.get("files", {}).items()}
    whole = all(path.exists() and sha256(path) == digest for path, digest in files.items())
    return bool(known.get("status") == "done" and files and whole)


def resume_command(folder: Path) -> str:
    """What to type to go on with a run."""
    return f"confiner resume {shlex.quote(str(folder))}"


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and key != "prompts":
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def recipe(settings: Settings) -> str:
    """What decides the frames, as ASCII JSON: the comment of the video file, which `from=` reads."""
    config = {
        key: value for key, value in plain(settings).items() if key not in ("output", "resume")
    }
    parts = {key: config[key] for key in PROMPTING}
    return json.dumps({**parts, "config": config, "versions": versions()}, ensure_ascii=True)


def read_run(folder: Path) -> dict[str, Any]:
    """The run.json of a run folder. Raises ConfinerError where there is none."""
    try:
        facts: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise TypeError("a record is an object")
    except (OSError, ValueError, TypeError) as error:
        raise ConfinerError(
            f"{folder} is not a run folder: no run.json that can be read",
            "name a run folder or an MP4",
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


def _rewritten(path: Path, content: bytes) -> bool:
    """Write a file in its own place; where there is no room for that, it stays as it is."""
    size = path.stat().st_size
    with path.open("r+b", buffering=0) as file:
        file.seek(size)
        rest = content[size:]  # first what needs room: nothing is lost where it does not fit
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(size)
            return False
        file.seek(0)
        file.write(content[:size])
        file.truncate(len(content))
    return True


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")

"""What is known of a run, as run.json has it: one type, one reader, one form.

`format` 2 is this one. Records of before (0.1.0 until then) have no number; they lack settings that
came later, which is for `config/recorded.py` to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from confiner_cli.errors import ConfinerError
from confiner_cli.media.formats import FORMATS, MP4
from confiner_cli.runs.folder import RECORD, video_name

FORMAT = 2
ALWAYS = ("status", "prompt", "negative_prompt", "prompts", "seed")
"""Fields that are written also where they are empty; once a run has ended, `files` too."""


@dataclass(frozen=True)
class RunRecord:
    """A run: what decided it, how it went, what it cost, and which files it has finished.

    Attributes:
        format: of the record; 1 is that of the records without a number.
        status: `running`, `done`, `failed` or `interrupted`.
        prompt, negative_prompt, prompts, seed: as in `config`; those that take over are by frame.
        config: the settings, whole; empty where the run was refused before they were known.
        versions: of Python and of the packages that decide the frames.
        started: when, in ISO 8601.
        device: the name of what it runs on.
        memory: the `memory=` that `auto` came to.
        threads: how many computed on the CPU; 0 where an older record does not say.
        models: the hub's commits by model.
        weights: the files that each part of each expert came from, by role, by part, hashed.
        notices: remarks, a line each.
        evaluations, passes: by role, of all processes that worked on it together.
        seconds: by stage, likewise; those of workers summed up. `wait` was waited for encoders,
            `idle` for workers; `total` is the clock's.
        peak_memory_bytes: of the last process, or the most of any worker; on a CPU without pages
            of files, which can be dropped.
        batch: how many runs were sampled in one forward with this one, itself included.
        resumed: how often it was gone on with.
        stopped_at: the length of a video without an end, once it is known.
        error, hint: why it failed, and the cure.
        measures: of the finished video, by name (`measures.table.MEASURES`).
        files: SHA-256 of the finished artefacts, by name.
    """

    format: int = 1
    status: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    prompts: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    started: str = ""
    device: str = ""
    memory: str = ""
    threads: int = 0
    models: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    evaluations: Mapping[str, int] = field(default_factory=dict)
    passes: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int = 0
    batch: int = 0
    resumed: int = 0
    stopped_at: int = 0
    error: str = ""
    hint: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def video(self) -> str:
        """The name of the finished video; older records know MP4 only."""
        output = self.config.get("output")
        chosen = str(output.get("format")) if isinstance(output, Mapping) else ""
        return video_name(chosen if chosen in FORMATS else MP4.name)

    def as_json(self) -> str:
        """The content of run.json: what is empty is left out, but for what decides the video."""
        facts = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        always = ALWAYS if self.status == "running" else (*ALWAYS, "files")
        shown = {name: value for name, value in facts.items() if name in always or value}
        return json.dumps(shown, indent=2)


def record_of(facts: Mapping[str, Any]) -> RunRecord:
    """The record that a JSON object states.

    Fields that a record does not have, or that are of another type, are not read.
    """
    known = {entry.name: entry for entry in fields(RunRecord)}
    taken: dict[str, Any] = {}
    for name in known.keys() & facts.keys():
        default = getattr(RunRecord(), name)
        value = facts[name]
        if isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)
        if name == "seed" or _alike(value, default):
            taken[name] = value
    return RunRecord(**taken)


def _alike(value: Any, default: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, dict if isinstance(default, dict) else type(default))


def parse_record(text: str) -> RunRecord:
    """The record that a run.json states.

    Raises:
        ValueError: it is no JSON, or no object.
    """
    facts = json.loads(text)
    if not isinstance(facts, dict):
        raise ValueError("it holds no object")  # noqa: TRY004
    return record_of(facts)


def read_run(folder: Path) -> RunRecord:
    """The record of a run folder.

    Raises:
        ConfinerError: there is none that can be read.
    """
    try:
        return parse_record((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfinerError(
            f"{folder} is not a run folder: no {RECORD} that can be read",
            "name a run folder or a video",
        ) from error

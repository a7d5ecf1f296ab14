"""What the page shows of a run: plain values, of a record that may lack any of them or be odd."""

from __future__ import annotations

import os
import shlex
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from confiner_cli.config.schema import OF_THE_RUN
from confiner_cli.gallery.axes import FIRST, as_text, key_of
from confiner_cli.gallery.runs import Run
from confiner_cli.media.contact_sheet import first_of_last_row
from confiner_cli.media.formats import format_of
from confiner_cli.runs.record import RunRecord

SHOWN_ELSEWHERE = {*FIRST, "output.dir", *OF_THE_RUN}
FILES = {
    "structure": "structure.mp4",
    "contact sheet": "contact_sheet.png",
    "record": "run.json",
    "log": "run.log",
}
"""What a run folder has beside its result, whose name its record says."""
SQUARE = (1, 1)
LARGEST_NUMBER = 2**53
"""From here on JavaScript knows not every whole number."""
_PNG = struct.Struct(">8s8xII")


@dataclass(frozen=True)
class Card:
    """A run as the page shows it; None and empty text are what is not known.

    Attributes:
        status, error, hint: how it ended.
        prompt, seed: as recorded.
        overrides: what was set beside them, `(key, value)`.
        folder: relative to the page, as a person reads it.
        links: relative, percent-encoded, of `result` and what `FILES` lists; those that exist.
        is_picture: whether the result is a picture that moves, which a video player does not show.
        size: `(height, width)` of the video in pixels, or its ratio.
        sheet: `(height, width, rows)` of the contact sheet, where it has the known layout.
        fps, frames: of the video.
        seconds, passes: what it cost in all.
        facts: the rest, `(name, text)`.
    """

    status: str
    error: str
    hint: str
    prompt: str
    seed: str
    overrides: tuple[tuple[str, str], ...]
    folder: str
    links: Mapping[str, str]
    is_picture: bool
    size: tuple[int, int]
    sheet: tuple[int, int, int] | None
    started: str
    fps: float | None
    frames: int | None
    seconds: float | None
    passes: int | None
    facts: tuple[tuple[str, str], ...]


def card_of(run: Run, base: Path) -> Card:
    """The card of a run on a page in the folder `base`, absolute."""
    record = run.record
    config = record.config
    folder = os.path.relpath(run.folder, base)
    links = {
        label: "./" + quote(os.fsencode(f"{folder}/{name}"))
        for label, name in {"result": record.video, **FILES}.items()
        if os.path.isfile(run.folder / name)  # noqa: PTH113, a folder may not let us look
    }
    sides = [_count(config.get(key)) for key in ("height", "width")]
    passes = [count for count in map(_count, record.passes.values()) if count is not None]
    return Card(
        status=run.status,
        error=run.error,
        hint=record.hint,
        prompt=record.prompt,
        seed=_text(record.seed),
        overrides=tuple(_overrides(run)),
        folder=folder,
        links=links,
        is_picture="result" in links and format_of(Path(record.video)).is_picture,
        size=(sides[0], sides[1]) if sides[0] and sides[1] else SQUARE,
        sheet=_sheet_of(run.folder / FILES["contact sheet"], _sheet_rows(config)),
        started=record.started,
        fps=_number(config.get("fps")),
        frames=_count(config.get("num_frames")),
        seconds=_number(record.seconds.get("total")),
        passes=sum(passes) if passes else None,
        facts=tuple((name, text) for name, text in _facts(record, folder) if text),
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them: `2.6 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _overrides(run: Run) -> Iterator[tuple[str, str]]:
    for word in run.overrides:
        if key_of(word) not in SHOWN_ELSEWHERE:
            key, _, value = word.lstrip("+~").partition("=")
            yield key, value


def _facts(record: RunRecord, folder: str) -> Iterator[tuple[str, str]]:
    yield "not in it", record.negative_prompt
    for frame, prompt in record.prompts.items():
        yield f"from frame {frame}", as_text(prompt)
    yield from _of_config(record.config)
    yield "evaluations", _list_of(record.evaluations, as_text)
    yield "passes", _list_of(record.passes, as_text)
    yield "time", _list_of(record.seconds, _duration)
    yield "measures", _list_of(record.measures, _rounded)
    peak = _number(record.peak_memory_bytes)
    yield "peak memory", f"{peak / 2**20:.0f} MiB" if peak else ""
    yield "device", record.device
    yield "started", record.started[:19].replace("T", " ")
    yield "notices", " ".join(map(as_text, record.notices))
    if record.config:
        yield "again", f"confiner generate from={shlex.quote(folder)}"


def _of_config(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if config:
        names = [_text(_node(config, group).get("name")) for group in ("experts", "scheduler")]
        yield "experts", ", ".join(names)
    keys = ("height", "width", "num_frames", "fps")
    if all(key in config for key in keys):
        height, width, frames, fps = (as_text(config[key]) for key in keys)
        yield "video", f"{height} x {width}, {frames} frames, {fps} fps"


def _list_of(node: Mapping[str, Any], said: Callable[[Any], str]) -> str:
    """A node's names with their values, without those of which there is nothing to say."""
    texts = {name: said(value) for name, value in node.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items() if text)


def _duration(value: Any) -> str:
    seconds = _number(value)
    return "" if seconds is None else duration(seconds)


def _rounded(value: Any) -> str:
    number = _number(value)
    return "" if number is None else f"{number:.4g}"


def _sheet_rows(config: Mapping[str, Any]) -> int:
    """The structure has a row where it is shown."""
    return 1 if _node(config, "output").get("structure") is False else 2


def _sheet_of(path: Path, rows: int) -> tuple[int, int, int] | None:
    """Of a PNG file in pixels, without decoding it; None where it is no contact sheet of ours."""
    try:
        with path.open("rb") as file:
            mark, width, height = _PNG.unpack(file.read(_PNG.size))
    except (OSError, struct.error):
        return None
    whole = mark == b"\x89PNG\r\n\x1a\n" and first_of_last_row(height, width, rows) is not None
    return (height, width, rows) if whole else None


def _node(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    node = facts.get(key)
    return node if isinstance(node, dict) else {}


def _text(value: Any) -> str:
    return "" if value is None else as_text(value)


def _count(value: Any) -> int | None:
    """A positive whole number that a page can show."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value < LARGEST_NUMBER else None


def _number(value: Any) -> float | None:
    """A number that is not negative and that a page can show."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value < LARGEST_NUMBER else None

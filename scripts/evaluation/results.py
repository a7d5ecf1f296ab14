"""What has been measured so far, on disk: one line a clip, its features beside it, safe against a kill."""

from __future__ import annotations

import csv
import io
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

ROLES = ("control", "spatial", "temporal")
COLUMNS = (
    "row", "prompt", "seed", "shape", "colour", "background", "motion", "all", "flicker", "jitter", "contrast",
    "sharpness", *(f"evaluations_{role}" for role in ROLES), *(f"passes_{role}" for role in ROLES), "seconds",
    "shape_frames", "colour_frames", "background_frames", "travel_x", "travel_y", "held_out",
)  # fmt: skip
Key = tuple[str, str, int]


class OtherResultsError(Exception):
    """A folder that holds results which do not go with the new ones."""


class Results:
    """`folder/results.csv` and `folder/features/`.

    Args:
        folder: made where it is missing; a torn last line of its results.csv is dropped.
        made_by: what made the clips, such as a hash of the weights; a folder holds results of one only.

    Raises:
        OtherResultsError: the folder holds results of something else.
    """

    def __init__(self, folder: Path, made_by: str) -> None:
        self.path, self.features = folder / "results.csv", folder / "features"
        self.features.mkdir(parents=True, exist_ok=True)
        mark = folder / "made_by.txt"
        if mark.exists() and mark.read_text() != made_by:
            raise OtherResultsError(f"{folder} holds results of other weights; choose another folder or remove it")
        mark.write_text(made_by)
        self.lines: dict[Key, dict[str, str]] = {_key(line): line for line in self._read()}

    def __contains__(self, key: Key) -> bool:
        return key in self.lines

    def add(self, values: Mapping[str, Any], features: Tensor) -> None:
        """Keep one clip's columns and its features `(frame, width)`: on disk when this returns."""
        line = {name: _text(values[name]) for name in COLUMNS}
        path = self._features_of(_key(line))
        temporary = path.with_suffix(".writing")
        save_file({"features": features.half().contiguous()}, temporary)
        temporary.replace(path)
        self._append(_csv(line))
        self.lines[_key(line)] = line

    def features_of(self, key: Key) -> Tensor:
        """The features of a clip `(frame, width)`."""
        features: Tensor = load_file(self._features_of(key))["features"]
        return features.float()

    def _features_of(self, key: Key) -> Path:
        row, prompt, seed = key
        return self.features / f"{row}-{seed}-{zlib.crc32(prompt.encode()):08x}.safetensors"

    def _read(self) -> list[dict[str, str]]:
        whole = self.path.read_bytes() if self.path.exists() else b""
        kept = whole[: whole.rfind(b"\n") + 1]
        if kept != whole:
            os.truncate(self.path, len(kept))
        if not kept:
            self._append(_csv({name: name for name in COLUMNS}))
            return []
        reader = csv.DictReader(io.StringIO(kept.decode()))
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise OtherResultsError(f"{self.path} has other columns; choose another folder or remove it")
        return list(reader)

    def _append(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def _key(line: Mapping[str, str]) -> Key:
    return line["row"], line["prompt"], int(line["seed"])


def _csv(line: Mapping[str, str]) -> str:
    buffer = io.StringIO()
    csv.DictWriter(buffer, COLUMNS, lineterminator="\n").writerow(line)
    return buffer.getvalue()


def _text(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)

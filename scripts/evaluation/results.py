"""What has been measured so far: a line a clip, the judge's features beside it, safe from kills."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from confiner_cli.weights.tensors import save_tensors
from evaluation.lines import Key, Lines

ROLES = ("control", "spatial", "temporal")
KEY = ("row", "prompt", "seed", "made_with")
COSTS = (
    *(f"evaluations_{role}" for role in ROLES),
    *(f"passes_{role}" for role in ROLES),
)
COLUMNS = (
    "row", "prompt", "seed", "shape", "colour", "background", "motion", "all", "flicker", "jitter",
    "contrast", "sharpness", *COSTS, "seconds", "shape_frames", "colour_frames",
    "background_frames", "travel_x", "travel_y", "amplitude", "subject_consistency", "colour_shift",
    "held_out", "made_with",
)  # fmt: skip


class Results:
    """`folder/results.csv` and `folder/features/`; several processes may add to them at once.

    Args:
        folder: made where it is missing.
        made_by: what made the clips, such as a hash of the weights; a folder holds results of one
            only.

    Raises:
        OtherResultsError: the folder holds results of something else.
    """

    def __init__(self, folder: Path, made_by: str) -> None:
        self._features = folder / "features"
        self._features.mkdir(parents=True, exist_ok=True)
        self._lines = Lines(folder / "results.csv", COLUMNS, KEY, made_by)

    @property
    def lines(self) -> Mapping[Key, Mapping[str, str]]:
        """All lines by their `KEY`."""
        return self._lines.lines

    def __contains__(self, key: Key) -> bool:
        return key in self.lines

    def add(self, values: Mapping[str, Any], features: Tensor) -> None:
        """Keep one clip's columns and its features `(frame, width)`: on disk when this returns."""
        path = self._features_of(tuple(str(values[name]) for name in KEY))
        save_tensors({"features": features.half().contiguous()}, path)
        self._lines.add(values)

    def refresh(self) -> None:
        """Read what other processes have added."""
        self._lines.refresh()

    def features_of(self, key: Key) -> Tensor:
        """The features of a clip `(frame, width)`."""
        features: Tensor = load_file(self._features_of(key))["features"]
        return features.float()

    def _features_of(self, key: Key) -> Path:
        row, prompt, seed, made_with = key
        return (
            self._features
            / f"{row}-{seed}-{zlib.crc32(prompt.encode()):08x}-{made_with}.safetensors"
        )

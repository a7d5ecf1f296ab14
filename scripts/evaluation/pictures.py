"""The same prompt and seed down the rows, as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from torch import Tensor

from confiner_cli.files import atomic_write
from confiner_cli.media.contact_sheet import columns, write_contact_sheet
from evaluation.clips import frames_of
from evaluation.prompts import Prompt
from evaluation.tasks import Maker, seed_of

SHOWN = (
    "renders", "control_4", "spatial_100", "temporal_100", "spatial_only", "temporal_only", "naive",
    "coordinated", "two_visits_3", "confiner_9", "steady",
)  # fmt: skip
AMPLIFIED = 100


def write_rows(path: Path, makers: Mapping[str, Callable[[], Maker]], prompt: Prompt) -> None:
    """Write a JPEG: of each row seven frames, and the change from frame to frame, amplified."""
    clips = {row: makers[row]()(prompt, seed_of(prompt, 0)).clip for row in SHOWN}
    title = f"{prompt.text}; last column: mean change from frame to frame, times {AMPLIFIED}"
    with TemporaryDirectory() as folder:
        sheet = Path(folder, "sheet.png")
        write_contact_sheet(
            sheet, title, {row: [*_frames(clip), change(clip)] for row, clip in clips.items()}
        )
        with Image.open(sheet) as picture, atomic_write(path) as temporary:
            picture.save(temporary, format="JPEG", quality=88)  # a fifth of the bytes


def change(clip: Tensor) -> Tensor:
    """The mean change of every pixel, amplified: of `(frame, 3, size, size)`, `(size, size, 3)`."""
    return frames_of(AMPLIFIED * clip.diff(dim=0).abs().mean(dim=0, keepdim=True))[0]


def _frames(clip: Tensor) -> Tensor:
    return frames_of(clip[columns(len(clip))[:-1]])

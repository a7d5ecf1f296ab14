"""The frames around the first structure seam: kept as strips, shown as one sheet a row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from confiner_cli.files import atomic_write
from confiner_cli.media.contact_sheet import write_contact_sheet
from evaluation.clips import frames_of
from evaluation.prompts import Prompt
from evaluation.tasks import seed_of
from world.render import FRAMES

SHOWN = range(FRAMES - 4, FRAMES + 5)
SHEET_PROMPTS = 8
MARK = (255, 0, 0)


def keep(folder: Path, row: str, prompt: Prompt, seed: int, clip: Tensor) -> None:
    """Keep the frames `SHOWN` of a video, if it is one that a sheet shows.

    Args:
        folder: of the pictures.
        row: the row's name.
        prompt: what the video was made of.
        seed: what it was made with.
        clip: `(frame, 3, size, size)` in [0, 1].
    """
    if prompt.number >= SHEET_PROMPTS or seed != seed_of(prompt, 0):
        return
    path = _strip(folder, row, prompt)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = frames_of(clip[SHOWN.start : SHOWN.stop])
    strip = frames.transpose(0, 1).flatten(1, 2)
    with atomic_write(path) as temporary:
        Image.fromarray(strip.numpy()).save(temporary)


def write_sheets(folder: Path, rows: Iterable[str], prompts: Iterable[Prompt]) -> None:
    """Write `folder/ROW.png`, a line for each prompt, of every row that has strips."""
    shown = [prompt for prompt in prompts if prompt.number < SHEET_PROMPTS]
    for row in rows:
        strips = {prompt.text: _strip(folder, row, prompt) for prompt in shown}
        lines = {text: _frames(path) for text, path in strips.items() if path.exists()}
        if lines:
            title = f"{row}: frames {SHOWN.start} to {SHOWN.stop - 1}; red: a structure begins"
            write_contact_sheet(folder / f"{row}.png", title, lines)


def _strip(folder: Path, row: str, prompt: Prompt) -> Path:
    return folder / "strips" / f"{row}-{prompt.number}.png"


def _frames(path: Path) -> list[Tensor]:
    """A strip's frames, `(size, size, 3)` in uint8, the first of a structure with a red edge."""
    with Image.open(path) as picture:
        strip = torch.from_numpy(np.array(picture))
    frames = list(strip.view(len(strip), -1, len(strip), 3).unbind(dim=1))
    for number, frame in zip(SHOWN, frames, strict=False):
        if number % FRAMES == 0:
            frame[:, :2] = torch.tensor(MARK, dtype=torch.uint8)
    return frames

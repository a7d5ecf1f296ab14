"""One picture of a run: a row of frames of the structure, if it is shown, and one of the result."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from confiner_cli.files import atomic_write

if TYPE_CHECKING:  # a gallery asks where the cells lie, and needs no torch for it
    from torch import Tensor

COLUMNS = 8
CELL = 128
MARGIN = 8
LINE = 22
_PAPER, _INK, _GREY = "#ffffff", "#111111", "#777777"


def columns(num_frames: int) -> list[int]:
    """Numbers of the frames that a sheet shows: at most eight, even, first and last among them."""
    count = min(COLUMNS, num_frames)
    step = (num_frames - 1) / max(1, count - 1)
    return [round(column * step) for column in range(count)]


def write_contact_sheet(path: Path, title: str, rows: Mapping[str, Sequence[Tensor]]) -> None:
    """Write a PNG.

    Args:
        path: where it goes; appears whole or not at all.
        title: a line above the rows, cut to fit.
        rows: by name, uint8 frames `(height, width, 3)`, the same number in every row.
    """
    pictures = {name: list(map(_cell, frames)) for name, frames in rows.items()}
    width, height = next(iter(pictures.values()))[0].size
    count = max(len(cells) for cells in pictures.values())
    step = height + MARGIN + LINE
    sheet = Image.new(
        "RGB", (MARGIN + count * (width + MARGIN), 2 * MARGIN + LINE + len(pictures) * step), _PAPER
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    draw.text(
        (MARGIN, MARGIN),
        _fitting(title, draw, font, sheet.width - 2 * MARGIN),
        fill=_INK,
        font=font,
    )
    for row, (name, cells) in enumerate(pictures.items()):
        top = MARGIN + LINE + row * step
        draw.text((MARGIN, top), name, fill=_GREY, font=font)
        for column, cell in enumerate(cells):
            sheet.paste(cell, (MARGIN + column * (width + MARGIN), top + LINE))
    with atomic_write(path) as temporary:
        sheet.save(temporary, compress_level=3)  # a third of the time for a tenth more bytes


def first_of_last_row(height: int, width: int, rows: int) -> tuple[int, int, int, int] | None:
    """Where a sheet shows the first frame of its last row, the result.

    Args:
        height: the sheet's, in pixels.
        width: the same.
        rows: how many it has.

    Returns:
        `(left, top, width, height)` in pixels, or None where the picture is no such sheet.
    """
    step, rest = divmod(height - 2 * MARGIN - LINE, rows)
    cell = step - MARGIN - LINE
    if rest or cell < 1 or width < CELL + 2 * MARGIN or (width - MARGIN) % (CELL + MARGIN):
        return None
    return MARGIN, MARGIN + LINE + (rows - 1) * step + LINE, CELL, cell


def _cell(frame: Tensor) -> Image.Image:
    picture = Image.fromarray(frame.numpy())
    scale = CELL / picture.width
    resample = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    return picture.resize((CELL, max(1, round(picture.height * scale))), resample)


def _fitting(
    text: str,
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    width: int,
) -> str:
    # A character is a pixel wide at least. To measure all of a long prompt would take minutes.
    text = " ".join(text.split())[: width + 1]
    if draw.textlength(text, font=font) <= width:
        return text

    def is_wide(length: int) -> bool:
        return draw.textlength(_cut(text, length), font=font) > width

    return _cut(text, bisect(range(len(text)), False, key=is_wide) - 1)


def _cut(text: str, length: int) -> str:
    return f"{text[:length].rstrip()}…"

"""One picture of a run, whatever the video's length and shape."""

import pytest
import torch
from PIL import Image, ImageDraw

from confiner_cli.media.contact_sheet import columns, write_contact_sheet


@pytest.mark.parametrize("num_frames", [1, 2, 5, 8, 9, 16, 600])
def test_columns_are_at_most_eight_with_first_and_last_in_order(num_frames):
    shown = columns(num_frames)
    assert len(shown) == min(8, num_frames)
    assert (shown[0], shown[-1]) == (0, num_frames - 1)
    assert shown == sorted(set(shown))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (8, 320), (320, 8), (512, 512)])
@pytest.mark.parametrize("title", ["a red heart", "心 " * 500, ""])
def test_a_sheet_shows_every_frame_of_both_rows(tmp_path, height, width, title):
    colours = torch.tensor([[250, 10, 10], [10, 250, 10], [10, 10, 250]], dtype=torch.uint8)
    rows = {
        name: list(colours[:, None, None].expand(-1, height, width, 3))
        for name in ("structure", "result")
    }
    write_contact_sheet(tmp_path / "sheet.png", title, rows)
    with Image.open(tmp_path / "sheet.png") as sheet:
        counts = {
            colour: count
            for count, colour in sheet.convert("RGB").getcolors(sheet.width * sheet.height)
        }
    for colour in colours.tolist():
        assert counts[tuple(colour)] == 2 * 128 * max(1, round(height * 128 / width))
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_the_title_fills_its_line_and_little_of_a_long_one_is_measured(tmp_path, monkeypatch):
    drawn, measured = [], []
    measure, draw = ImageDraw.ImageDraw.textlength, ImageDraw.ImageDraw.text

    def textlength(self, text, *args, **options):
        measured.append(len(text))
        return measure(self, text, *args, **options)

    def text(self, place, words, **options):
        drawn.append((words, measure(self, words, font=options["font"])))
        draw(self, place, words, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "textlength", textlength)
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    rows = {"result": [torch.zeros(8, 8, 3, dtype=torch.uint8)] * 2}
    write_contact_sheet(tmp_path / "sheet.png", "a heart " * 300, rows)
    (title, width), _ = drawn
    room = 2 * 136 - 8
    assert title.startswith("a heart a heart") and title.endswith("…")
    assert room - 16 < width <= room
    assert sum(measured) < 10_000

"""docs/scale.svg and its table are what the script makes of the code of today."""

from __future__ import annotations

from draw_scale import OUTPUT, table, write


def test_the_figure_is_drawn_by_the_script(tmp_path):
    write(tmp_path / "scale.svg")
    assert (tmp_path / "scale.svg").read_bytes() == OUTPUT.read_bytes()


def test_the_table_is_printed_by_the_script():
    text = OUTPUT.with_name("scale.md").read_text(encoding="utf-8")
    assert "\n".join(table()) in text

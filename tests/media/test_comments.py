"""The comment of a video: what is read is what was written, however long and strange it is."""

import json

import pytest
from support.media_files import remuxed
from support.nasty_prompts import NASTY
from support.pictures import SIZE, flat

from confiner_cli.media.video import encode_chunk, join_chunks, read_comment, write_video

LONG = json.dumps({f"{number}": "漢" * 300 for number in range(400)})
"""Longer than all arguments of a process may be together."""


@pytest.mark.parametrize(
    "comment",
    [
        "a=b;c#d\\e\nf", "\\", "ends\\\n", "\r", "a\r\nb", "\n\n", "  x ", "\x01\x1b\t",
        "\u2028\x85 💛 漢字", "\ncomment=x\n[STREAM]\ntitle=y", "\n".join(NASTY),
    ],
)  # fmt: skip
def test_any_text_is_read_back_as_it_was_written(tmp_path, comment):
    write_video(tmp_path / "video.mp4", flat()[:1], SIZE, 8, comment)
    assert read_comment(tmp_path / "video.mp4") == comment


def test_a_comment_is_longer_than_arguments_may_be(tmp_path):
    assert len(LONG) > 2**19
    write_video(tmp_path / "written.mp4", flat(), SIZE, 8, LONG)
    encode_chunk(tmp_path / "chunk.mp4", flat(), SIZE, 8)
    join_chunks(tmp_path / "joined.mp4", [tmp_path / "chunk.mp4"], 7, SIZE, LONG)
    assert read_comment(tmp_path / "written.mp4") == LONG
    assert read_comment(tmp_path / "joined.mp4") == LONG
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"written.mp4", "joined.mp4", "chunk.mp4"}


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_a_comment_survives_another_container(tmp_path, suffix):
    comment = "one\ntwo=2;\\\n#three"
    write_video(tmp_path / "video.mp4", flat(), SIZE, 8, comment)
    assert read_comment(remuxed(tmp_path / "video.mp4", suffix)) == comment

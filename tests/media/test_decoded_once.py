"""What is encoded is decoded once, to verify it, and never again: counted by ffmpeg itself."""

import re
import sys

import imageio_ffmpeg
import pytest
from support.command_line import PROMPT, QUICK, generate
from support.killing import SHORT
from support.pictures import SIZE, flat

from confiner_cli.media.ffmpeg import count
from confiner_cli.media.video import encode_chunk, join_chunks, read_video, write_video

FFMPEG = """\
#!{python}
import os, sys
folder, ffmpeg = {folder!r}, {ffmpeg!r}
kind = "encoded" if "libx264" in sys.argv else "copied" if "copy" in sys.argv else "decoded"
progress = os.path.join(folder, f"{{kind}}-{{os.getpid()}}")
open(progress, "w").close()  # stays empty, and fails the test, where ffmpeg counts for others
os.execv(ffmpeg, [ffmpeg, "-progress", progress, *sys.argv[1:]])
"""


@pytest.fixture
def counts(tmp_path_factory, monkeypatch):
    """How many frames each call of ffmpeg of a kind has put out."""
    folder = tmp_path_factory.mktemp("ffmpeg")
    program = folder / "ffmpeg"
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    program.write_text(FFMPEG.format(python=sys.executable, folder=str(folder), ffmpeg=ffmpeg))
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))

    def frames(kind):
        texts = [path.read_text() for path in folder.glob(f"{kind}-*")]
        return [int(re.findall(r"^frame=(\d+)", text, re.MULTILINE)[-1]) for text in texts]

    return frames


def test_a_file_is_decoded_once(tmp_path, counts):
    write_video(tmp_path / "video.mp4", flat(), SIZE, 8)
    assert counts("encoded") == counts("decoded") == [len(flat())]


def test_chunks_are_decoded_once_when_they_are_joined(tmp_path, counts):
    chunks = [tmp_path / "0.mp4", tmp_path / "1.mp4"]
    for chunk in chunks:
        encode_chunk(chunk, flat(), SIZE, 8)
    assert counts("encoded") == [len(flat())] * 2
    assert counts("decoded") == []
    join_chunks(tmp_path / "video.mp4", chunks, 2 * len(flat()), SIZE, pick=[0])
    assert counts("decoded") == [2 * len(flat())]


def test_a_run_decodes_no_frame_twice(tmp_path, counts):
    folder = generate(PROMPT, *SHORT[1:], f"output.dir={tmp_path / 'run'}").folder
    lengths = [count(folder / name, "-c", "copy")[0] for name in ("structure.mp4", "video.mp4")]
    assert lengths == [24, 24]
    assert sum(counts("decoded")) == 48 <= sum(counts("encoded"))


def test_a_short_run_encodes_each_video_once_decodes_it_once_and_copies_nothing(tmp_path, counts):
    folder = generate(PROMPT, *QUICK, f"output.dir={tmp_path / 'run'}").folder
    assert counts("encoded") == counts("decoded") == [4, 4]
    assert counts("copied") == []
    assert len(read_video(folder / "video.mp4")) == 4

"""The sound of a given video: in the result, in time with its frames, or told to be left out."""

import re
from pathlib import Path

import pytest
import torch
from support.media_files import ffmpeg as write
from support.media_files import filmed, remuxed
from support.pictures import SIZE, flat

from confiner_cli.media import ffmpeg
from confiner_cli.media.formats import FORMATS
from confiner_cli.media.sound import obstacle, sound_of
from confiner_cli.media.source_video import probe
from confiner_cli.media.streams import streams_in
from confiner_cli.media.video import read_comment, read_video, write_video

HERTZ = 8000


def heard(path: Path) -> torch.Tensor:
    """The loudness of each sample of a file's sound."""
    pcm = ("-ac", "1", "-ar", str(HERTZ), "-f", "s16le", "-")
    samples = ffmpeg.run("-loglevel", "error", "-i", str(path), "-map", "0:a", *pcm).output
    return torch.frombuffer(bytearray(samples), dtype=torch.int16).float().abs()


def test_a_tone_begins_with_the_same_frame_and_ends_with_the_video(tmp_path):
    whole = filmed(tmp_path / "in.mkv", tone=1.0)
    late = tmp_path / "late.mkv"  # its frames come 0.75 seconds after its sound
    write("-i", whole, "-itsoffset", "0.75", "-i", whole, "-map", "1:v", "-map", "0:a", "-c",
          "copy", late)  # fmt: skip
    for path, start in ((whole, 0), (late, 0.75)):
        source = probe(path)
        assert (source.sound, source.num_frames) == ("vorbis", 24)
        assert source.start == pytest.approx(start, abs=0.002)
        result = tmp_path / "video.mp4"
        frames = flat().repeat(3, 1, 1, 1)[:16]
        write_video(result, frames, SIZE, 8, "tag", sound_of(source, 16, 8))
        loud = (heard(result) > 1000).nonzero()[:, 0] / HERTZ
        assert loud[0] == pytest.approx(1.0 - start, abs=0.05)
        assert loud[-1] == pytest.approx(2.0, abs=0.05)
        assert len(read_video(result)) == 16 and read_comment(result) == "tag"


@pytest.mark.parametrize(
    ("suffix", "codecs", "kind", "fps", "words"),
    [
        (".mp4", (), "mp4", 8, ""),
        (".webm", (), "webm", 8, ""),
        (".webm", (), "mp4", 8, ""),
        (".mp4", (), "webm", 8, "a WebM cannot hold it as it is (aac)"),
        (".mkv", ("-c:a", "wmav2"), "mp4", 8, "an MP4 cannot hold it as it is (wmav2)"),
        (".mp4", (), "gif", 8, "a GIF holds none"),
        (".mp4", (), "mp4", 12, "fps=12 is not the 8 of the video"),
    ],
)
def test_sound_is_in_the_result_or_it_is_said_why_not(tmp_path, suffix, codecs, kind, fps, words):
    source = probe(filmed(tmp_path / f"in{suffix}", *codecs))
    why_not = obstacle(source, 7, fps, FORMATS[kind])
    assert words in why_not and bool(words) == bool(why_not)
    if not words:
        path = tmp_path / f"video.{kind}"
        write_video(path, flat(), SIZE, fps, None, sound_of(source, 7, fps))
        assert streams_in(ffmpeg.run("-i", str(path)).messages).sound == source.sound
        assert len(read_video(path)) == 7


def test_a_comment_and_chapters_of_the_given_video_do_not_come_with_its_sound(tmp_path):
    chapters = ";FFMETADATA1\ncomment=theirs\n[CHAPTER]\nSTART=0\nEND=1000000000\ntitle=secret\n"
    (tmp_path / "chapters.txt").write_text(chapters)
    described = ("-f", "ffmetadata", "-i", str(tmp_path / "chapters.txt"), "-map_metadata", "1")
    path = remuxed(filmed(tmp_path / "plain.mp4"), ".mov", *described)
    assert read_comment(path) == "theirs"
    write_video(tmp_path / "video.mp4", flat(), SIZE, 8, None, sound_of(probe(path), 7, 8))
    said = ffmpeg.run("-i", str(tmp_path / "video.mp4")).messages
    assert "Audio: aac" in said and not re.search("theirs|secret|Chapter", said)

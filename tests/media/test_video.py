"""MP4 files: the frames, colours and tags that were meant, under the final name only when whole."""

import re
import signal
import subprocess
import sys
import time

import imageio_ffmpeg
import pytest
import torch
from support.killing import cut
from support.pictures import COLOURS, SIZE, flat

from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.media import ffmpeg
from confiner_cli.media.video import (
    encode_chunk,
    join_chunks,
    read_comment,
    read_video,
    verify,
    write_video,
)


def described(path) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("fps", [1, 8, 24, 240])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (72, 40), (64, 200)])
def test_frames_size_and_rate_are_exact_and_tagged(tmp_path, fps, height, width):
    path = tmp_path / "video.mp4"
    write_video(path, flat(height=height, width=width), (height, width), fps)
    assert read_video(path).shape == (len(COLOURS), height, width, 3)
    words = described(path)
    assert re.search(rf"h264 .*yuv420p\(tv, bt709.*\), {width}x{height}\b.*, {fps} fps", words), (
        words
    )


def test_flat_colours_come_back_within_three_levels(tmp_path):
    write_video(tmp_path / "video.mp4", flat(), SIZE, 8)
    error = (read_video(tmp_path / "video.mp4").int() - flat().int()).abs().max()
    assert error <= 3


def test_the_index_comes_before_the_frames(tmp_path):
    write_video(tmp_path / "video.mp4", flat(), SIZE, 8, "tag")
    content = (tmp_path / "video.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_without_a_comment_there_is_none(tmp_path):
    write_video(tmp_path / "video.mp4", flat(), SIZE, 8)
    assert read_comment(tmp_path / "video.mp4") is None


def test_what_is_no_video_is_refused_by_name(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    for read in (read_video, read_comment):
        with pytest.raises(ConfinerError, match=r"text\.mp4 is not a video"):
            read(path)


def test_an_error_between_frames_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path, flat(), SIZE, 8)
    before = path.read_bytes()

    def frames():
        yield flat()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, frames(), SIZE, 8)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [
        ("video.mp4", before)
    ]


def test_no_frames_and_an_encoder_that_fails_leave_no_file(tmp_path):
    with pytest.raises(FailedError, match="no frame"):
        write_video(tmp_path / "video.mp4", [], SIZE, 8)
    with pytest.raises(FailedError, match="ffmpeg could not write"):
        write_video(
            tmp_path / "video.mp4", flat(height=31), (31, 48), 8
        )  # yuv420p has no odd sizes
    assert not any(tmp_path.iterdir())


def test_verification_misses_neither_frames_nor_bytes(tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path, flat(height=64, width=64), (64, 64), 8)
    verify(path, len(COLOURS), (64, 64))
    for count, size in ((len(COLOURS) - 1, (64, 64)), (len(COLOURS), (48, 64))):
        with pytest.raises(FailedError, match="decodes to"):
            verify(path, count, size)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(FailedError):
        verify(path, len(COLOURS), (64, 64))


def chunks_in(folder, counts, size=(64, 64)):
    """Files of moving noise, so many frames each."""
    generator = torch.Generator().manual_seed(3)
    paths = []
    for number, count in enumerate(counts):
        paths.append(folder / f"it's {number}.mp4")
        frames = torch.randint(256, (count, *size, 3), dtype=torch.uint8, generator=generator)
        encode_chunk(paths[-1], frames, size, 8)
    return paths


def test_joined_chunks_have_the_frames_that_they_have_apart_and_no_more_than_asked_for(tmp_path):
    chunks = chunks_in(tmp_path, (3, 1, 5))
    picked = join_chunks(tmp_path / "video.mp4", chunks, 8, (64, 64), "tag", pick=[0, 3, 7])
    apart = torch.cat([read_video(chunk) for chunk in chunks])
    joined = read_video(tmp_path / "video.mp4")
    assert torch.equal(joined, apart[:8])
    assert torch.equal(torch.stack(picked), joined[[0, 3, 7]])
    assert read_comment(tmp_path / "video.mp4") == "tag"
    assert sorted(tmp_path.iterdir()) == sorted([*chunks, tmp_path / "video.mp4"])


def garble(path):
    """Make bytes in the middle of a file others."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = b"\x5a" * 2000
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, garble])
def test_a_damaged_chunk_is_found_when_it_is_joined_and_leaves_no_file(tmp_path, damage):
    chunks = chunks_in(tmp_path, (3, 5))
    damage(chunks[1])
    with pytest.raises(FailedError):
        join_chunks(tmp_path / "video.mp4", chunks, 8, (64, 64))
    assert sorted(tmp_path.iterdir()) == sorted(chunks)


def test_a_chunk_that_has_lost_frames_is_found_without_decoding_it(tmp_path, monkeypatch):
    encode = ffmpeg.encode

    def careless(frames, size, fps, *output):
        _, ending = encode(frames[:-1], size, fps, *output)
        return len(frames), ending

    monkeypatch.setattr(ffmpeg, "encode", careless)
    monkeypatch.delattr(ffmpeg, "decode")
    with pytest.raises(FailedError, match="6 frames instead of 7"):
        encode_chunk(tmp_path / "0.mp4", flat(), SIZE, 8)
    assert not any(tmp_path.iterdir())


WRITER = """
import sys, torch
from pathlib import Path
from confiner_cli.errors import ConfinerError
from confiner_cli.media.video import write_video
try:
    frames = (torch.randint(256, (64, 64, 3), dtype=torch.uint8) for _ in range(int(sys.argv[1])))
    write_video(Path("video.mp4"), frames, (64, 64), 8)
except ConfinerError as error:
    sys.exit(error.lines())
"""


def test_a_kill_while_writing_leaves_no_file_under_the_name(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(10**9)], cwd=tmp_path)
    deadline = time.monotonic() + 120
    while (
        not any(path.stat().st_size for path in tmp_path.iterdir()) and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    assert writer.wait() == -signal.SIGKILL
    assert any(tmp_path.iterdir())
    assert not (tmp_path / "video.mp4").exists()


def full(folder):
    """A file system of one page, for frames of noise, which hundreds of pages would not hold."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(folder)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs a privilege")
    try:
        result = subprocess.run(
            [sys.executable, "-c", WRITER, "200"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not any(folder.iterdir())
        return result
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    result = full(tmp_path)
    error, hint = result.stderr.splitlines()
    assert result.returncode == 1
    assert error.startswith("error: no room to write video.mp4") and "disk" in hint
    assert not any(tmp_path.iterdir())

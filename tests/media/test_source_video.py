"""Other people's videos: frames counted, at one rate, in one size, in the colours players show."""

import shutil
import subprocess
from itertools import islice
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch
from support.media_files import filmed
from support.pictures import COLOURS, flat

from confiner_cli.errors import ConfinerError
from confiner_cli.media.source_video import SourceVideo, probe, read_frames
from confiner_cli.media.video import read_video, write_video

GREEN = torch.tensor([0, 255, 0])


def ffmpeg(*arguments: object) -> None:
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *map(str, arguments)],
        stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip


def made(
    path: Path, size: tuple[int, int] = (36, 64), fps: str = "10", frames: int = 12, *options: str
) -> Path:
    """A file with a moving test picture; the options are the encoder's."""
    picture = f"testsrc2=s={size[1]}x{size[0]}:r={fps},trim=end_frame={frames}"
    ffmpeg("-f", "lavfi", "-i", picture, "-pix_fmt", "yuv444p", *options, path)
    return path


def read(source: SourceVideo, size: tuple[int, int] | None = None, start: int = 0) -> torch.Tensor:
    return torch.stack(list(read_frames(source, size or source.size, start)))


@pytest.mark.parametrize(
    ("stated", "fps"),
    [
        ("30000/1001", 30000 / 1001), ("24000/1001", 24000 / 1001), ("60000/1001", 60000 / 1001),
        ("24", 24.0), ("8", 8.0), ("12.5", 12.5), ("100/13", 100 / 13),
    ],
)  # fmt: skip
def test_the_rate_is_exact_and_no_frame_is_repeated_or_left_out(tmp_path, stated, fps):
    source = probe(made(tmp_path / "in.mp4", fps=stated, frames=150))
    assert (source.num_frames, source.fps, source.size) == (150, fps, (36, 64))
    assert torch.equal(read(source), read_video(source.path))


@pytest.mark.parametrize(
    "name", ["in.webm", "in.mkv", "in.mov", "in.gif", "in.ts", "in.avi", "a:b %03d 'c'.mp4"]
)
def test_containers_and_strange_names_are_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x36:r=25,trim=end_frame=30", f"file:{name}")
    source = probe(Path(name))
    assert (source.num_frames, source.fps, source.size) == (30, 25.0, (36, 64))
    assert read(source).shape == (30, 36, 64, 3)


def test_a_rate_that_varies_becomes_its_average(tmp_path):
    rare = ("-vf", "select='lt(n,60)+not(mod(n,4))'", "-fps_mode", "vfr", "-bf", "0")
    path = made(tmp_path / "in.mp4", (36, 64), "30", 121, *rare)
    frames = read_video(path)
    assert len(frames) == 60 + 16
    source = probe(path)
    assert source.fps == pytest.approx(76 / (121 / 30), abs=0.1)
    assert source.num_frames == pytest.approx(76, abs=1)
    found = read(source)
    assert len(found) == source.num_frames
    # What is shown halfway is what was: at 2.0 seconds, the first of the rare frames.
    difference = [
        (frame.int() - found[round(2.0 * source.fps)].int()).abs().float().mean()
        for frame in frames
    ]
    assert abs(int(torch.tensor(difference).argmin()) - 60) <= 1


def test_a_file_without_a_rate_is_refused(tmp_path):
    path = made(tmp_path / "in.mp4", fps="1000", frames=3)
    with pytest.raises(ConfinerError, match="does not say how many frames a second"):
        probe(path)


def test_one_frame_is_a_video(tmp_path):
    source = probe(made(tmp_path / "in.mp4", frames=1))
    assert source.num_frames == 1 and read(source).shape == (1, 36, 64, 3)
    assert list(read_frames(source, (8, 8), start=1)) == []


def test_sound_and_a_cover_are_ignored(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "color=red:s=20x20", "-frames:v", "1", tmp_path / "cover.png")
    mute = made(tmp_path / "mute.mp4")
    ffmpeg(
        "-i", tmp_path / "cover.png", "-f", "lavfi", "-i", "sine=d=9", "-i", mute, "-map", "0",
        "-map", "1", "-map", "2", "-c:v", "copy", "-disposition:v:0", "attached_pic",
        tmp_path / "in.mp4",
    )  # fmt: skip
    source = probe(tmp_path / "in.mp4")
    assert (source.num_frames, source.fps, source.size) == (12, 10.0, (36, 64))
    assert torch.equal(read(source), read_video(mute))


@pytest.mark.parametrize("turn", [90, -90, 180])
def test_a_turned_video_is_upright(tmp_path, turn):
    lying = made(tmp_path / "lying.mp4")
    ffmpeg("-display_rotation", turn, "-i", lying, "-c", "copy", tmp_path / "in.mp4")
    source = probe(tmp_path / "in.mp4")
    assert source.size == ((36, 64) if turn == 180 else (64, 36))
    upright = torch.rot90(read_video(lying), turn // 90, dims=(1, 2))
    assert torch.equal(read(source), upright)


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    source = probe(made(tmp_path / "in.mp4", (36, 64), "10", 2, "-vf", "setsar=2/1"))
    assert source.size == (36, 128)
    squeezed = read(source).float().unflatten(2, (64, 2)).mean(3)
    assert (squeezed - read_video(source.path).float()).abs().mean() < 3


@pytest.mark.parametrize("target", [(36, 64), (64, 64), (16, 64), (128, 40), (37, 65), (8, 8)])
@pytest.mark.parametrize("size", [(36, 64), (65, 37), (37, 65), (2, 300)])
def test_any_size_covers_any_other(tmp_path, size, target):
    path = tmp_path / "in.mkv"
    green = f"color=0x00ff00:s={size[1]}x{size[0]}"
    ffmpeg(
        "-f", "lavfi", "-i", green, "-frames:v", "2", "-c:v", "ffv1", "-pix_fmt", "yuv444p", path
    )
    source = probe(path)
    assert source.size == size
    frames = read(source, target)
    assert frames.shape == (2, *target, 3)
    assert (frames - GREEN).abs().max() <= 1, "a border"


def test_the_middle_stays_and_the_aspect_ratio_does(tmp_path):
    # Red on the left, blue on the right, a green square of 40 in the middle of 40 x 160.
    boxes = "drawbox=80:0:80:40:blue:fill,drawbox=60:0:40:40:0x00ff00:fill"
    picture = f"color=red:s=160x40,format=gbrp,{boxes}"
    ffmpeg("-f", "lavfi", "-i", picture, "-frames:v", "1", "-c:v", "ffv1", tmp_path / "in.mkv")
    source = probe(tmp_path / "in.mkv")
    (square,) = read(source, (40, 40))
    assert (square - GREEN).abs().max() <= 1
    (wide,) = read(
        source, (20, 60)
    )  # half as large: 10 red, 20 green, 10 blue would be 40, and 60 of 80 stay
    greens = (wide[10, :, 1] > 127).nonzero()[:, 0]
    assert greens.tolist() == list(range(20, 40))
    assert wide[10, 5, 0] > 250 and wide[10, 55, 2] > 250


@pytest.mark.parametrize("start", [1, 7, 29])
def test_a_frame_has_the_same_bits_wherever_the_stream_begins(tmp_path, start):
    source = probe(
        made(tmp_path / "in.mp4", (90, 160), "30000/1001", 30, "-g", "12", "-pix_fmt", "yuv420p")
    )
    assert torch.equal(read(source, (48, 48), start), read(source, (48, 48))[start:])


def test_a_late_first_frame_is_frame_0_and_rounded_times_move_none(tmp_path):
    plain = made(tmp_path / "plain.mp4", fps="30000/1001", frames=60)
    ffmpeg(  # half a frame late, in milliseconds
        "-itsoffset",
        "1.0177",
        "-i",
        plain,
        "-f",
        "lavfi",
        "-i",
        "sine=d=3",
        "-c:v",
        "copy",
        tmp_path / "late.mkv",
    )
    late = probe(tmp_path / "late.mkv")
    assert late.num_frames == 60
    assert torch.equal(read(late), read_video(plain))


def test_our_own_videos_come_back_as_they_were_written(tmp_path):
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(9, 3, 4, 6, generator=generator)
    smooth = (
        torch.nn.functional.interpolate(coarse, size=(64, 96), mode="bilinear")
        .mul(255)
        .to(torch.uint8)
    )
    frames = smooth.permute(0, 2, 3, 1)
    write_video(tmp_path / "ours.mp4", frames, (64, 96), 8)
    source = probe(tmp_path / "ours.mp4")
    assert (source.num_frames, source.fps, source.size) == (9, 8.0, (64, 96))
    assert (read(source).int() - frames.int()).abs().float().mean() < 2


def test_colours_of_a_bt709_file_are_right_within_two_levels(tmp_path):
    write_video(tmp_path / "ours.mp4", flat(), (32, 48), 8)
    source = probe(tmp_path / "ours.mp4")
    for size in ((32, 48), (64, 64)):
        found = read(source, size)[:, size[0] // 2, size[1] // 2].int()
        assert (found - COLOURS.int()).abs().max() <= 2


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / "sound.m4a")
    ffmpeg(
        "-i", tmp_path / "sound.m4a", "-f", "lavfi", "-i", "color=red:s=20x20", "-frames:v", "1",
        "-c:v", "png", "-disposition:v", "attached_pic", tmp_path / "song.m4a",
    )  # fmt: skip
    for name, words in (
        ("text.mp4", "is not a video"), ("empty.mp4", "is not a video"),
        ("sound.m4a", "has no frame"), ("song.m4a", "has no frame"),
        ("nothing.mp4", "there is no file"), ("", "is a folder"),
    ):  # fmt: skip
        with pytest.raises(ConfinerError, match=words) as caught:
            probe(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value) and "structure.video=" in caught.value.hint


def cut(path: Path) -> Path:
    """The first half of a file whose index comes first."""
    content = path.read_bytes()
    half = path.with_name("half.mp4")
    half.write_bytes(content[: len(content) // 2])
    return half


def hurt(path: Path) -> Path:
    """The file with other bytes in its middle."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = b"\x5a" * 2000
    other = path.with_name("other.mp4")
    other.write_bytes(content)
    return other


@pytest.mark.parametrize("damage", [cut, hurt])
def test_damage_is_told_with_the_frame_that_was_reached(tmp_path, damage):
    whole = made(tmp_path / "in.mp4", (90, 160), "24", 120, "-movflags", "+faststart")
    source = probe(whole)
    damaged = damage(whole)
    with pytest.raises(ConfinerError, match=r"is damaged: after \d+ frames"):
        probe(damaged)
    shutil.copy(damaged, whole)  # after it was looked at
    seen: list[torch.Tensor] = []
    with pytest.raises(ConfinerError, match=r"in\.mp4 is damaged") as caught:
        seen.extend(read_frames(source, (36, 64)))
    assert f"after {len(seen)} frames" in str(caught.value) and 0 < len(seen) < 100


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_file_that_ends_between_two_frames_is_damaged_too(tmp_path, suffix):
    path = filmed(tmp_path / f"in{suffix}", "-movflags", "+faststart", seconds=4)
    content = path.read_bytes()
    path.write_bytes(content[:-5000])
    with pytest.raises(ConfinerError, match=r"is damaged: after \d+ frames"):
        probe(path)


@pytest.mark.parametrize("end", ["closed", "read", "failed"])
def test_no_process_outlives_its_reader_nor_runs_ahead_of_it(tmp_path, monkeypatch, end):
    source = probe(made(tmp_path / "in.mp4", (360, 640), frames=40))
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda *args, **options: started.append(start(*args, **options)) or started[-1],
    )
    frames = read_frames(source, (360, 640))
    assert len(list(islice(frames, 2))) == 2
    (process,) = started
    assert process.poll() is None  # 38 frames do not fit into a pipe
    if end == "closed":
        frames.close()
    elif end == "read":
        assert len(list(frames)) == 38
    else:
        with pytest.raises(KeyboardInterrupt):
            frames.throw(KeyboardInterrupt())
    assert process.returncode is not None  # it has ended and was waited for


HDR = {"PQ": "smpte2084", "HLG": "arib-std-b67"}


@pytest.mark.parametrize("name", HDR)
def test_a_high_dynamic_range_is_told_by_its_name(tmp_path, name):
    tags = f"setparams=color_primaries=bt2020:color_trc={HDR[name]}:colorspace=bt2020nc"
    (line,) = probe(made(tmp_path / "in.mp4", (36, 64), "10", 2, "-vf", tags)).losses
    assert f"has high dynamic range ({name}): it is not tone-mapped" in line


def test_a_wide_gamut_is_told_and_ordinary_colours_are_not(tmp_path):
    for primaries, told in (("bt2020", ["BT.2020"]), ("smpte432", ["Display P3"]), ("bt709", [])):
        tags = f"setparams=color_primaries={primaries}:color_trc=bt709:colorspace=bt709"
        losses = probe(made(tmp_path / "in.mp4", (36, 64), "10", 2, "-vf", tags)).losses
        assert [word for word in ("BT.2020", "Display P3") if word in "".join(losses)] == told
        assert len(losses) == len(told)


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("in.mov", ("-c:v", "qtrle", "-pix_fmt", "argb")),
        ("in.mkv", ("-c:v", "ffv1", "-pix_fmt", "yuva420p")),
        ("in.apng", ("-c:v", "apng", "-pix_fmt", "rgba")),
    ],
)
def test_alpha_is_told_where_a_pixel_is_transparent_and_only_there(tmp_path, name, encoder):
    for opacity, told in ((1, 0), (0.5, 1)):
        # Opaque but in the last frame.
        alpha = f"format=rgba,colorchannelmixer=aa={opacity}:enable='gte(n,9)'"
        source = probe(made(tmp_path / name, (36, 64), "10", 10, "-vf", alpha, *encoder))
        assert len(source.losses) == told, source.losses
        assert all("its alpha is dropped" in line for line in source.losses)


def test_alpha_in_a_second_picture_is_told(tmp_path):
    alpha = ("-vf", "format=rgba,colorchannelmixer=aa=0.5", "-c:v", "libvpx-vp9", "-pix_fmt")
    (line,) = probe(made(tmp_path / "in.webm", (36, 64), "10", 4, *alpha, "yuva420p")).losses
    assert "its alpha is dropped" in line


@pytest.mark.parametrize("fps", [8, 12, 30])
def test_the_rate_of_a_gif_is_not_that_of_its_first_frame(tmp_path, fps):
    write_video(tmp_path / "in.gif", flat().repeat(4, 1, 1, 1), (32, 48), fps)
    source = probe(tmp_path / "in.gif")
    assert (source.fps, source.num_frames) == (fps, 28)


def test_a_file_that_may_not_be_read_or_has_gone_is_told_as_such(tmp_path, monkeypatch):
    path = made(tmp_path / "in.mp4")
    source = probe(path)
    path.unlink()
    with pytest.raises(ConfinerError, match="is not there any more"):
        list(read_frames(source, (8, 8)))
    path.touch()

    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError):
        probe(path)

"""What the finished video is: a file of the format that was asked for, with the sound that fits."""

import shutil

import pytest
import torch
from support.command_line import PROMPT, QUICK, SMALLEST, confiner, facts_of, generate
from support.media_files import filmed, remuxed

from confiner_cli import load
from confiner_cli.media.source_video import probe
from confiner_cli.media.video import read_comment, read_video

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A run whose video is an APNG."""
    place = tmp_path_factory.mktemp("picture") / "run"
    words = (*QUICK, "threads=1", "seed=3", "output.format=apng")
    ending = generate(PROMPT, *words, f"output.dir={place}")
    assert ending.out == f"{place / 'video.apng'}\n"
    return ending.folder


def test_a_picture_without_loss_has_the_frames_that_python_has(picture):
    with load("tiny", threads=1) as experts:
        video = experts.generate(PROMPT.partition("=")[2], *QUICK, seed=3)
    assert torch.equal(read_video(picture / "video.apng"), video.frames)
    assert len(read_video(picture / "structure.mp4")) == 4
    assert set(facts_of(picture)["files"]) == {"contact_sheet.png", "structure.mp4", "video.apng"}


def test_the_file_alone_is_the_recipe(picture, folder):
    alone = shutil.copy(picture / "video.apng", folder / "alone.png")
    again = generate(f"from={alone}").folder  # where it goes and as what is asked for anew
    assert facts_of(again)["config"]["seed"] == 3 and (again / "video.mp4").exists()
    assert "seed: 3" in confiner("show", str(alone)).out


def test_a_finished_run_is_known_by_its_own_file(picture):
    words = (PROMPT, *QUICK, "seed=3", f"output.dir={picture}", "resume=true")
    for ending in (confiner("resume", str(picture)), generate(*words, "output.format=apng")):
        assert ending.out == f"{picture / 'video.apng'}\n" and "already done" in ending.err
    other = generate(*words, "output.format=gif")
    assert other.code == 2 and "output.format differ" in other.err


def test_a_gif_that_was_stopped_goes_on_to_the_same_file(folder, monkeypatch):
    from confiner_cli.runs import open_run

    words = (*SMALLEST[1:], PROMPT, "num_frames=2", "seed=1", "output.format=gif")
    whole = generate(*words, "output.dir=whole").folder
    write = open_run.write_video

    def stopped(path, *arguments, **options):
        if path.suffix == ".gif":
            raise KeyboardInterrupt
        return write(path, *arguments, **options)

    monkeypatch.setattr(open_run, "write_video", stopped)
    assert generate(*words, "output.dir=stopped").code == 130
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    ending = confiner("resume", "stopped")
    assert ending.out == f"{folder / 'stopped' / 'video.gif'}\n"
    assert (folder / "stopped" / "video.gif").read_bytes() == (whole / "video.gif").read_bytes()


def test_a_video_that_was_remuxed_still_says_how_it_was_made(folder):
    made = generate(PROMPT, *SMALLEST, "seed=5").folder
    for suffix in (".mkv", ".mov"):
        alone = remuxed(shutil.copy(made / "video.mp4", folder / "alone.mp4"), suffix)
        shown = confiner("show", str(alone))
        assert (shown.code, shown.err) == (0, "") and "seed: 5" in shown.out
        assert read_comment(alone) == read_comment(made / "video.mp4")


def test_the_sound_of_a_given_video_is_in_the_result_or_its_loss_is_noticed(folder):
    tags = "setparams=color_primaries=bt2020:color_trc=arib-std-b67:colorspace=bt2020nc"
    given = filmed(folder / "in.mp4", "-vf", tags)
    words = (PROMPT, f"structure.video={given}", "num_frames=4", "height=16", "width=16",
             "scheduler.refinement.num_inference_steps=1", "seed=1")  # fmt: skip
    copied = generate(*words, "output.metadata=false")
    result = probe(copied.folder / "video.mp4")
    assert (result.sound, result.num_frames) == ("aac", 4)
    assert facts_of(copied.folder)["config"]["output"]["audio"] == "copy"
    assert copied.err.count("notice:") == copied.err.count("high dynamic range (HLG)") == 1
    lost = generate(*words, "output.format=webm")
    assert probe(lost.folder / "video.webm").sound == ""
    assert lost.err.count(f"notice: the sound of {given} is left out: a WebM cannot hold") == 1
    facts = facts_of(lost.folder)
    assert facts["config"]["output"]["audio"] == "none"
    assert [line for line in facts["notices"] if "sound" in line]


def test_python_saves_what_the_suffix_says_with_the_sound_that_fits(folder, capsys):
    given = filmed(folder / "in.mp4")
    with load("tiny") as experts:
        video = experts.generate(
            "a red heart", f"structure.video={given}", *SMALLEST[1:3], num_frames=2,
            seed=1,
        )  # fmt: skip
    capsys.readouterr()
    assert probe(video.save("a.mp4")).sound == "aac"
    assert capsys.readouterr().err == ""
    assert torch.equal(read_video(video.save(folder / "a.webp")), video.frames)
    assert "notice: the sound of" in capsys.readouterr().err

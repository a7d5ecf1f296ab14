"""A video in the structures' place: what it decides, and what is said of what a result lacks."""

import pytest
from support.command_line import PROMPT
from support.media_files import filmed
from support.pictures import SIZE, flat

from confiner_cli.errors import ConfinerError
from confiner_cli.media.video import write_video
from confiner_cli.runs.advice import advice
from confiner_cli.runs.provenance import settings_of_words


def decided(*words: object):
    from confiner_cli.config.resolve import resolve

    return resolve(settings_of_words([PROMPT, *map(str, words)]))


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    """Two seconds in a wide gamut, with sound."""
    tags = "setparams=color_primaries=bt2020:color_trc=bt709:colorspace=bt2020nc"
    return filmed(tmp_path_factory.mktemp("loud") / "in.mp4", "-vf", tags, seconds=2)


def test_sound_comes_where_frames_are_taken_one_to_one_and_the_record_says_so(loud):
    job = decided(f"structure.video={loud}", "num_frames=12")
    assert job.settings.output.audio == "copy"
    assert (job.sound.path, job.sound.seconds) == (loud, 1.5)
    (line,) = job.losses
    assert "wide gamut" in line and line in tuple(advice(job, {}))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fps=12",), "the sound of {} is left out: fps=12 is not the 8"),
        (("output.format=gif",), "the sound of {} is left out: a GIF holds none"),
        (("output.format=webm",), "the sound of {} is left out: a WebM cannot hold it"),
        (("output.audio=none",), None),
    ],
)
def test_sound_that_is_lost_is_told_once_unless_nobody_wants_it(loud, words, said):
    job = decided(f"structure.video={loud}", *words)
    assert (job.sound, job.settings.output.audio) == (None, "none")
    lines = [line for line in job.losses if "sound" in line]
    assert lines == [] if said is None else said.format(loud) in "".join(lines)
    assert len(lines) == (said is not None)


def test_without_sound_or_a_given_video_nothing_is_lost(tmp_path):
    write_video(tmp_path / "mute.mp4", flat(), SIZE, 8)
    for words in ((), (f"structure.video={tmp_path / 'mute.mp4'}", "fps=12")):
        job = decided(*words)
        assert (job.sound, job.losses, job.settings.output.audio) == (None, (), "none")


@pytest.mark.parametrize(
    ("words", "said", "cure"),
    [
        ((), "in.mp4 has 0.5 frames a second; a result has 1 to 240", "fps=8"),
        (("fps=0.5",), "fps=0.5 is out of range", "fps= takes 1 to 240"),
        (("fps=8", "num_frames=2", "at=3:x"), "begins after the video's end, frame 2", "before 2"),
    ],
)  # fmt: skip
def test_what_nobody_has_set_is_not_held_against_them(tmp_path, words, said, cure):
    path = filmed(tmp_path / "in.mp4", fps="0.5", seconds=80)
    with pytest.raises(ConfinerError) as caught:
        decided(f"structure.video={path}", *words)
    assert said in str(caught.value) and cure in caught.value.hint


def test_a_video_of_any_length_is_refined_in_windows(tmp_path):
    path = filmed(tmp_path / "in.mp4", fps="8", seconds=12)
    timeline = decided(f"structure.video={path}").timeline
    long = decided(f"structure.video={path}", "long_video=confiner_long")
    assert (timeline.num_frames, timeline.window_count) == (96, 7) and timeline == long.timeline


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("output.format=avi", "output.format=avi is unknown"),
        ("output.audio=true", "output.audio=True is unknown"),
        ("output.format=gif", "a GIF of 60 frames a second plays slower: 50 are the most"),
    ],
)
def test_a_format_that_cannot_be_is_refused(word, said):
    with pytest.raises(ConfinerError) as caught:
        decided(word, "fps=60")
    assert said in str(caught.value) and caught.value.hint


def test_a_result_at_the_rate_that_is_rounded_is_taken_one_to_one(tmp_path):
    path = filmed(tmp_path / "in.mp4", fps="30000/1001", seconds=0.4)
    assert decided(f"structure.video={path}", "fps=29.97").sound is not None
    assert decided(f"structure.video={path}", "fps=30").sound is None

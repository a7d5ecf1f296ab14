"""A run killed at any moment goes on to the same frames, computes little twice, leaves nothing."""

import random

import pytest
from support.command_line import PROMPT, QUICK, ended, facts_of
from support.forked import forked
from support.killing import (
    SHORT,
    Moment,
    assert_as_if_never_killed,
    gone_on,
    killed_after,
    killed_at,
    made,
)

ADD = "confiner_cli.runs.journal:Journal.add"
SAVE = "confiner_cli.weights.tensors:save_file"
NETWORK = "confiner_cli.experts.expert:Prompted.__call__"
QUICKLY = {
    "inside a network's call of a refinement": Moment(NETWORK, 4, "spatial", "after"),
    "with half of a window's latents": Moment(SAVE, 1, "window-000001", "half"),
}
THOROUGH = {
    "between a structure's latents and its line in the journal": Moment(
        ADD, 1, "structure-000001.safetensors"
    ),
    "while ffmpeg reads a part's frames": Moment(
        "confiner_cli.runs.open_run:encode_chunk", 1, "video-000002", "frames"
    ),
    "before video.mp4 has its name": Moment("pathlib:Path.replace", 1, " video.mp4"),
}
OTHERS = {
    "before there is a record": Moment("confiner_cli.runs.execute:open_run"),
    "with an empty record": Moment("pathlib:Path.open", 1, "run.", "after"),
    "inside a network's call of a structure": Moment(NETWORK, 3, "control"),
    "with half of a structure's latents": Moment(SAVE, 1, "structure-000001", "half"),
    "with half of a structure's line in the journal": Moment(
        ADD, 1, "structure-000001.safetensors", "half", "journal.jsonl"
    ),
    "between a window's latents and its line in the journal": Moment(ADD, 1, "window-000002"),
    "with half of a window's line in the journal": Moment(
        ADD, 1, "window-000002", "half", "journal.jsonl"
    ),
    "between a window's latents and its part": Moment(
        "confiner_cli.runs.perform:Performer._chunk", 2
    ),
    "before latents that nobody needs are removed": Moment(
        "pathlib:Path.unlink", 1, "structure-000000.safetensors"
    ),
    "before a structure's part has its name": Moment(
        "pathlib:Path.replace", 1, " structure-000001.mp4"
    ),
    "between a part's name and its line in the journal": Moment(ADD, 1, "video-000001.mp4"),
    "with half of a part's line in the journal": Moment(
        ADD, 1, "video-000001.mp4", "half", "journal.jsonl"
    ),
    "after the line of a part": Moment(ADD, 1, "video-000001.mp4", "after"),
    "before structure.mp4 is joined": Moment(
        "confiner_cli.runs.open_run:join_chunks", 1, "structure.mp4"
    ),
    "after structure.mp4 has its name": Moment(
        "pathlib:Path.replace", 1, " structure.mp4", "after"
    ),
    "before video.mp4 is joined": Moment("confiner_cli.runs.open_run:join_chunks", 1, "video.mp4"),
    "after video.mp4 is joined": Moment("confiner_cli.media.video:verify", 1, ".video."),
    "after video.mp4 has its name": Moment("pathlib:Path.replace", 1, " video.mp4", "after"),
    "before the contact sheet": Moment("confiner_cli.runs.execute:write_contact_sheet"),
    "before the record says done": Moment("confiner_cli.runs.logbook:Logbook.end", 1, "done"),
    "between done and the removal of the parts": Moment("confiner_cli.runs.partial:remove"),
    "while the parts are removed": Moment("os:rmdir", 1, "parts"),
}
WHOLE = (PROMPT, "seed=7", *QUICK)
"""A video of one structure: it has no parts that are joined."""
AT_ITS_END = {
    "while ffmpeg reads a whole video's frames": Moment(
        "confiner_cli.runs.open_run:write_video", 1, "video.mp4", "frames"
    ),
    "before a whole video has its name": Moment("pathlib:Path.replace", 1, " video.mp4"),
    "between a whole video's name and its line in the journal": Moment(ADD, 1, "video.mp4"),
    "with half of a whole video's line in the journal": Moment(
        ADD, 1, "video.mp4", "half", "parts/journal.jsonl"
    ),
    "after the line of a whole video": Moment(ADD, 1, "video.mp4", "after"),
    "after the line of a whole structure": Moment(ADD, 1, "structure.mp4", "after"),
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The same run without a kill, and the seconds that it took in a process as those killed."""
    folder = tmp_path_factory.mktemp("whole")
    folder = ended(forked("generate", *SHORT, "output.dir=run", folder=folder)).folder
    return made(folder), facts_of(folder)["seconds"]["total"]


def assert_goes_on_from(moment, folder, reference):
    killed_at(moment, "generate", *SHORT, "output.dir=run", folder=folder)
    gone_on(folder / "run", *SHORT)
    assert_as_if_never_killed(folder / "run", reference, kills=1)


@pytest.mark.parametrize("moment", QUICKLY.values(), ids=QUICKLY)
def test_a_killed_run_goes_on_to_the_same_frames(tmp_path, uninterrupted, moment):
    assert_goes_on_from(moment, tmp_path, uninterrupted[0])


@pytest.fixture(scope="module")
def uninterrupted_whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    return made(ended(forked("generate", *WHOLE, "output.dir=run", folder=folder)).folder)


@pytest.mark.slow
@pytest.mark.parametrize("moment", AT_ITS_END.values(), ids=AT_ITS_END)
def test_a_short_video_killed_at_its_end_goes_on_to_the_same_frames(
    tmp_path, uninterrupted_whole, moment
):
    killed_at(moment, "generate", *WHOLE, "output.dir=run", folder=tmp_path)
    gone_on(tmp_path / "run", *WHOLE)
    assert_as_if_never_killed(tmp_path / "run", uninterrupted_whole, kills=1)


@pytest.mark.thorough
@pytest.mark.parametrize("moment", THOROUGH.values(), ids=THOROUGH)
def test_at_its_turns_too_a_killed_run_goes_on_to_the_same_frames(tmp_path, uninterrupted, moment):
    assert_goes_on_from(moment, tmp_path, uninterrupted[0])


@pytest.mark.slow
@pytest.mark.parametrize("moment", OTHERS.values(), ids=OTHERS)
def test_wherever_a_run_is_killed_it_goes_on_to_the_same_frames(tmp_path, uninterrupted, moment):
    assert_goes_on_from(moment, tmp_path, uninterrupted[0])


@pytest.mark.slow
def test_a_run_that_is_killed_at_every_turn_comes_to_the_same_frames(tmp_path, uninterrupted):
    killed_at(
        QUICKLY["with half of a window's latents"],
        "generate",
        *SHORT,
        "output.dir=run",
        folder=tmp_path,
    )
    turns = (
        "between a window's latents and its line in the journal",
        "while ffmpeg reads a part's frames",
        "before video.mp4 has its name", "before the contact sheet",
    )  # fmt: skip
    for turn in turns:
        killed_at((QUICKLY | THOROUGH | OTHERS)[turn], "resume", "run", folder=tmp_path)
    gone_on(tmp_path / "run")
    assert_as_if_never_killed(tmp_path / "run", uninterrupted[0], kills=1 + len(turns))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_whenever_a_run_is_killed_from_outside_it_goes_on_to_the_same_frames(
    tmp_path, uninterrupted, seed
):
    (reference, seconds), drawn, run = uninterrupted, random.Random(seed), tmp_path / "run"
    times = drawn.choice((1, 2))
    kills = 0
    for _ in range(times):
        words = ("generate", *SHORT, "output.dir=run", "resume=true")
        kills += killed_after(drawn.uniform(0, 0.8), seconds, *words, folder=tmp_path, run=run)
    print(f"{kills} of {times} kills met it at work")
    gone_on(run, *(SHORT if drawn.random() < 0.5 else ()))
    assert_as_if_never_killed(run, reference, kills)

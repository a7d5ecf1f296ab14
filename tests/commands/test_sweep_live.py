"""A sweep on a terminal: a table of the running jobs, and nothing that is told is lost in it."""

import sys

import pytest
from support.command_line import PROMPT, QUICK
from support.terminal import left_on, told_on_a_terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")


def test_lines_that_are_taken_away_are_not_left():
    assert left_on("one\r\ntwo\r\n\x1b[1A\x1b[2Kthree") == ["one", "three", ""]


@pytest.mark.thorough
def test_paths_and_failures_stay_above_a_table_that_goes(folder):
    words = ("-m", PROMPT, "seed=1,2,3", *QUICK, "height=32,17", "width=32", "output.dir=all")
    with pytest.raises(AssertionError) as failed:  # three jobs are refused
        told_on_a_terminal("generate", *words, folder=folder)
    told = str(failed.value)
    left = [line.strip() for line in left_on(told)]
    made = sorted(str(path) for path in (folder / "all").glob("*/video.mp4"))
    assert len(made) == 3 and sorted(line for line in left if line.endswith("/video.mp4")) == made
    assert sum("error: height=17 is not a multiple" in line for line in left) == 3
    assert "of 6 jobs done" in told and not any("jobs done" in line for line in left)
    assert left.count(f"3 of 6 done in {folder / 'all'}") == 1

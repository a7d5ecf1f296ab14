"""A run that is stopped says so, with its exit code, and leaves nothing that only looks finished.

In this process: that a signal from outside is one, `test_resume.py` shows with processes.
"""

import os
import signal
import time

import pytest
from support.command_line import PROMPT, QUICK, facts_of, generate

from confiner_cli.errors import ConfinerError
from confiner_cli.media.video import read_video
from confiner_cli.runs import here, perform

SIGNALS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]


@pytest.fixture(autouse=True)
def _listening():
    """Shells may start jobs with Ctrl-C ignored; after a first signal a second ends the command."""
    before = {number: signal.getsignal(number) for number, _, _ in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
def test_a_signal_during_refinement_is_recorded_and_the_structure_stays_whole(
    tmp_path, monkeypatch, number, code, word
):
    folder, deadline = tmp_path / "run", time.monotonic() + 300

    def window(*arguments):
        while not (folder / "structure.mp4").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr(perform, "refine_window", window)
    ending = generate(PROMPT, *QUICK, f"output.dir={folder}")
    assert (ending.code, ending.out) == (code, ""), ending.err
    assert ending.err.splitlines()[-1] == word and "Traceback" not in ending.err
    facts = facts_of(folder)
    assert facts["status"] == "interrupted" and set(facts["files"]) == {"structure.mp4"}
    assert facts["evaluations"]["control"] == 1 and facts["seconds"]["total"] > 0
    assert not (folder / "video.mp4").exists() and not list(folder.rglob("*writing*"))
    assert len(read_video(folder / "structure.mp4")) == 4


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
def test_a_signal_that_foreign_code_turns_into_an_error_is_a_signal_still(
    tmp_path, monkeypatch, number, code, word
):
    def load(*arguments):
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        except BaseException as met:  # as torch does in the middle of loading
            raise ConfinerError("the weights cannot be loaded", "get others") from met

    monkeypatch.setattr(here, "load_pipeline", load)
    ending = generate(PROMPT, *QUICK, f"output.dir={tmp_path / 'run'}")
    assert (ending.code, ending.out) == (code, ""), ending.err
    facts = facts_of(tmp_path / "run")
    assert facts["status"] == "interrupted" and "error" not in facts

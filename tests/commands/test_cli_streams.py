"""What is told of a run never ends it, whatever becomes of stdout, stderr and the logs."""

import errno
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper

import pytest
from support.command_line import PROMPT, SMALLEST, confiner, facts_of, generate
from support.forked import Forked
from support.streams import DEAF, go_deaf, untold

from confiner_cli.cli import main
from confiner_cli.media.video import read_video
from confiner_cli.runs import logbook

pytestmark = pytest.mark.usefixtures("folder")

ENTRY = "from confiner_cli.cli import entry; entry()"
ODD = "☃ ü 你 \N{GRINNING FACE}"


def some(*kinds):
    return [
        pytest.param(kind, marks=[] if kind in kinds else pytest.mark.thorough) for kind in DEAF
    ]


@pytest.mark.parametrize("kind", some("gone", "closed"))
def test_a_stderr_that_takes_nothing_is_given_up(folder, kind):
    ending = untold(kind, "err", arguments=("generate", PROMPT, *SMALLEST, "output.dir=run"))
    assert (ending.code, ending.out) == (0, f"{folder / 'run' / 'video.mp4'}\n")


@pytest.mark.parametrize("kind", some("full", "closed"))
def test_a_stdout_that_takes_no_path_costs_the_exit_code_and_not_the_video(folder, kind):
    ending = untold(kind, "out", arguments=("generate", PROMPT, *SMALLEST, "output.dir=run"))
    assert ending.code == 2
    assert "\nerror: stdout does not take the path" in ending.err
    assert ending.err.endswith(f"confiner show {folder / 'run' / 'video.mp4'}\n")
    assert facts_of(folder / "run")["status"] == "done"


def test_a_sweep_that_nobody_listens_to_makes_all_of_its_videos(folder):
    words = ("generate", "-m", PROMPT, *SMALLEST, "seed=1,2", "output.dir=all")
    assert untold("gone", "out", "err", arguments=words).code == 2
    made = sorted((folder / "all").glob("*/video.mp4"))
    assert [path.parent.name.partition("-")[0] for path in made] == ["0", "1"]
    assert {facts_of(path.parent)["status"] for path in made} == {"done"}


def test_a_failure_that_cannot_be_written_down_fails_the_sweep_and_no_other_job(monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("confiner_cli.sweeps.job._write_down_refusal", refuse)
    words = [word for word in SMALLEST if word != "height=16"]
    ending = generate("-m", PROMPT, "height=17,16", *words)
    assert ending.code != 0 and len(ending.folders) == 1, ending.err


@pytest.mark.parametrize(
    ("arguments", "redirected", "code"),
    [
        (("--help",), ">/dev/full", 2),
        (("--help",), ">&-", 0),
        (("frobnicate",), "2>/dev/full", 2),
        (("frobnicate",), "2>&-", 2),
    ],
    ids=str,
)
def test_the_exit_code_is_the_command_s_and_not_that_of_python_s_last_flush(
    arguments, redirected, code
):
    script = f'exec "$@" {redirected}'
    command = ["bash", "-c", script, "-", sys.executable, "-c", ENTRY, *arguments]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr


def test_a_reader_of_both_streams_that_goes_away_costs_no_video(folder):
    with Forked(go_deaf, "generate", PROMPT, *SMALLEST, "output.dir=run", folder=folder) as process:
        process.communicate(timeout=300)
    assert process.returncode == 2
    assert len(read_video(folder / "run" / "video.mp4")) == 1


def test_logs_without_room_end_no_run_and_are_told_of_once(folder, monkeypatch):
    def refuse(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(logbook, "_appended", refuse)
    ending = generate(PROMPT, *SMALLEST, "output.dir=run")
    assert ending.code == 0 and facts_of(folder / "run")["status"] == "done"
    for name in ("events.jsonl", "run.log"):
        assert ending.err.count(f"{name} is not written on: No space left on device") == 1


def narrowly(encoding, *arguments):
    """What a command writes on a stdout and a stderr that know only a few characters."""
    with TextIOWrapper(BytesIO(), encoding) as out, TextIOWrapper(BytesIO(), encoding) as err:
        with redirect_stdout(out), redirect_stderr(err):
            code = main([*arguments])
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode(encoding))
        assert out.errors == "strict"
    return code, *texts


def test_what_an_encoding_has_not_is_escaped_whichever_command_says_it(folder):
    words = ("-m", f"prompt={ODD}", *SMALLEST, f"output.dir={folder / ODD}")
    code, out, err = narrowly("ascii", "generate", *words)
    assert code == 0, err
    (run,) = (folder / ODD).glob("0-*")
    assert out == f"{run}/video.mp4\n".encode("ascii", "backslashreplace").decode()
    assert "\\u2603" in err  # the table
    video = f"{run}/video.mp4"
    model = f"experts.spatial.model={folder / ODD}/nowhere"
    for arguments, expected in [
        (("show", f"{run}"), 0),
        (("show", video), 0),
        (("resume", f"{run}"), 0),
        (("gallery", f"{run}"), 0),
        (("plan", model), 2),
        (("generate", f"prompt={ODD}", "--cfg", "job"), 0),
    ]:
        code, out, err = narrowly("latin-1", *arguments)
        assert code == expected, err
        assert "\\u2603 ü" in out + err and "Traceback" not in err


BROKEN_LINES = ["run\nrun", "run\x1b[31m", "run\x7f", "run\x85", "run\u2028", "run\udcff"]


@pytest.mark.parametrize("name", BROKEN_LINES, ids=ascii)
def test_a_folder_whose_path_is_no_line_of_text_is_refused_at_the_start(folder, name):
    ending = generate(PROMPT, *SMALLEST, f"output.dir={name}")
    assert (ending.code, ending.out) == (2, "")
    assert f"{name!r}"[1:] in ending.err and "cannot be a run's folder" in ending.err
    assert not any(folder.iterdir())


def test_so_it_is_in_a_sweep_and_below_a_working_folder_of_such_a_name(folder, monkeypatch):
    (folder / "a\nb").mkdir()
    monkeypatch.chdir(folder / "a\nb")
    for words in (("-m",), (), ("output.dir=run",)):
        ending = generate(PROMPT, *SMALLEST, *words)
        assert ending.code == 2 and "U+000A is in its path" in ending.err
    (folder / "a\nb" / "run.json").write_text("{}")
    assert "U+000A is in its path" in confiner("resume", ".").err

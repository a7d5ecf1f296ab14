"""What the user can fix: two lines, exit code 2, before any weight is read; nothing is left."""

import subprocess
import sys

import pytest
from support.command_line import PROMPT, Ending, confiner, ended, generate, started

from confiner_cli import cli
from confiner_cli.experts.components import Components

REFUSED = [
    ([PROMPT, "sed=1"], "did you mean seed?"),
    ([PROMPT, "scheduler.refinment.te=50"], "did you mean scheduler.refinement.te?"),
    ([PROMPT, "+new=1"], "'new'"),
    ([PROMPT, "+experts.spatial.new=1"], "'experts.spatial.new'"),
    ([PROMPT, "~seed"], "seed"),
    ([PROMPT, "~scheduler"], "scheduler"),
    ([PROMPT, "seed"], "key=value"),
    ([PROMPT, "=1"], "key=value"),
    ([PROMPT, "seed=[1"], "seed=[1"),
    ([PROMPT, "scheduler=confiner_8"], "did you mean confiner_18?"),
    ([PROMPT, "experts=tinny"], "did you mean tiny?"),
    ([PROMPT, "long_video=nine"], "long_video= takes confiner_long, none"),
    ([PROMPT, "scheduler=null"], "group"),
    ([PROMPT, "seed=x"], "seed"),
    ([PROMPT, "num_frames=1.5"], "num_frames"),
    ([PROMPT, "output.metadata=perhaps"], "output.metadata"),
    ([PROMPT, "scheduler.structure=1"], "scheduler.structure"),
    ([PROMPT, "seed=${oc.env:HOME}"], "seed"),
    ([PROMPT, "seed=-1"], "seed= takes 0 to"),
    ([PROMPT, f"seed={2**64}"], "seed= takes 0 to"),
    ([PROMPT, "num_frames=0"], "num_frames= takes 1 or more"),
    ([PROMPT, "num_frames=17"], "tiny takes at once: 16"),
    ([PROMPT, "fps=0"], "fps= takes 1 to 240"),
    ([PROMPT, "fps=241"], "fps= takes 1 to 240"),
    ([PROMPT, "height=0"], "height"),
    ([PROMPT, "height=65"], "height=64"),
    ([PROMPT, "width=4104"], "width"),
    ([PROMPT, "device=toaster"], "device"),
    ([PROMPT, "device=cuda:99"], "device"),
    ([PROMPT, "dtype=float23"], "did you mean float32?"),
    ([PROMPT, "experts.spatial.family=gan"], "stable_diffusion"),
    ([PROMPT, "experts.spatial.guidance_scale=nan"], "experts.spatial.guidance_scale"),
    ([PROMPT, "experts.control.beta_start=0.5"], "experts.control.beta_start"),
    ([PROMPT, "experts.temporal.beta_schedule=cosine"], "scaled_linear"),
    ([PROMPT, "experts.spatial.model=/nowhere"], "/nowhere"),
    ([PROMPT, "experts.spatial.model=/nowhere", "scheduler=temporal_alone"], "/nowhere"),
    ([PROMPT, "experts.control.motion_adapter=/nowhere"], "/nowhere"),
    ([PROMPT, "experts.control.embeddings=[{path:/nowhere,token:<x>}]"], "/nowhere"),
    ([PROMPT, "experts.control.embeddings=[{path:blank.txt}]"], "token"),
    ([PROMPT, "experts.control.embeddings=[{path:blank.txt,token:a b}]"], "is no word"),
    ([PROMPT, "prompt_weighting=compel"], "prompt_weighting"),
    ([PROMPT, "scheduler.structure.expert=contrl"], "did you mean control?"),
    ([PROMPT, "scheduler.structure.num_inference_steps=0"], "num_inference_steps= takes 1 to 999"),
    ([PROMPT, "scheduler.structure.timestep_spacing=even"], "trailing, leading"),
    ([PROMPT, "scheduler=confiner_9", "scheduler.refinement.te=4"], "te= takes 5 to 999"),
    (
        [PROMPT, "scheduler.refinement.te=100", "experts.temporal.num_train_timesteps=50"],
        "te= takes 2 to 49",
    ),
    ([PROMPT, "scheduler.refinement.pattern=coordinate"], "did you mean coordinated?"),
    ([PROMPT, "scheduler.refinement.pattern=3"], "coordinated"),
    (
        [PROMPT, "scheduler.refinement.pattern=[coordinated,standard,naive]"],
        "3 patterns for 2 steps",
    ),
    ([PROMPT, "scheduler.refinement.hop_noise=2"], "hop_noise= takes 0 to 1"),
    ([PROMPT, "scheduler.refinement.hop_noise=old"], "fresh, predicted"),
    ([PROMPT, "scheduler.refinement.hop_noise=[1]"], "fresh, predicted"),
    ([PROMPT, "scheduler.refinement.timestep_matching=near"], "same, snr"),
    ([PROMPT, "scheduler.guidance_interval=[1,0]"], "guidance_interval"),
    ([PROMPT, "scheduler.guidance_interval=[0]"], "guidance_interval"),
    ([PROMPT, "scheduler.guidance_interval=[0,x]"], "guidance_interval"),
    ([PROMPT, "scheduler.guidance_interval=0.5"], "guidance_interval"),
    ([], 'prompt="'),
    (["prompt="], 'prompt="'),
    (["prompt= \n "], 'prompt="'),
    (["prompt=a\x07b"], "U+0007"),
    (["prompt=a\tb"], "U+0009"),
    ([PROMPT, "negative_prompt=a\x1bb"], "negative_prompt"),
    (["prompt=" + "x" * 10_001], "10001 characters"),
    ([PROMPT, PROMPT], "-m"),
    ([PROMPT, "seed=1", "seed=2"], "give seed= once"),
    ([PROMPT, "seed=1,2"], "add -m"),
    ([PROMPT, "prompt_file=latin.txt"], "use one of them"),
    (["prompt_file=nowhere.txt"], "nowhere.txt"),
    (["prompt_file=latin.txt"], "UTF-8"),
    (["prompt_file=blank.txt"], "blank.txt"),
    (["prompts_file=blank.txt", "-m"], "one prompt a line"),
    (["prompts_file=blank.txt"], "add -m"),
    ([PROMPT, "output.dir=full"], "not empty"),
    ([PROMPT, "output.dir=blank.txt"], "blank.txt"),
    ([PROMPT, "output.dir=blank.txt/below"], "blank.txt"),
    ([PROMPT, "hydra.run.dir=elsewhere"], "output.dir="),
    ([PROMPT, "hydra.mode=MULTIRUN"], "-m"),
    ([PROMPT, "hydra.nothing=1"], "hydra.nothing"),
    ([PROMPT, "--cfg", "everything"], "--cfg"),
    ([PROMPT, "--frobnicate"], "--frobnicate"),
    ([PROMPT, "--config-path", "."], "--config-dir"),
    ([PROMPT, "--config-dir", "nowhere"], "nowhere"),
    ([PROMPT, "--config-dir", "own", "--config-name", "late"], "list scheduler: before experts:"),
    (["from=nowhere.mp4"], "nowhere.mp4"),
    (["from=latin.txt"], "latin.txt"),
    (["from=full"], "full"),
    (["from=full", "seed=1", "-m"], "full"),
    ([PROMPT, "seed=1,x", "-m"], "seed"),
    ([PROMPT, "output.dir=new/root", "seed=1,x", "-m"], "seed"),
    ([PROMPT, "output.dir=full", "-m"], "not empty"),
    ([PROMPT, "output.dir=blank.txt", "-m"], "blank.txt"),
    ([PROMPT, "output.dir=a,b", "-m"], "one folder"),
    ([PROMPT, "hydra.sweep.dir=elsewhere", "-m"], "output.dir="),
    ([PROMPT, "-m", "--cfg", "job"], "--cfg"),
    (["-m", "seed=1,2"], 'prompt="'),
    ([PROMPT, "device=meta"], "device=auto"),
    ([PROMPT, "experts.knows=blank.txt"], "words, summary and examples"),
    ([PROMPT, "experts.control.num_train_timesteps=1"], "takes 2 to"),
    ([PROMPT, "experts.spatial.model=" + "x" * 300], "File name too long"),
    ([PROMPT, "experts.spatial.model=~nobody-here/x"], "write the path out"),
    (["from=" + "x" * 300], "File name too long"),
    (["from=number"], "number"),
    (["from=list"], "list"),
]
REFUSED_COMMANDS = [
    (["generte", PROMPT], "did you mean confiner generate?"),
    (["frobnicate"], "generate, resume, plan, experts, measure, show"),
    (["show"], "one file or folder"),
    (["show", "nowhere.mp4"], "nowhere.mp4"),
    (["show", "latin.txt"], "latin.txt"),
    (["show", "full"], "full"),
    (["experts", "explode"], "export tiny DIR"),
    (["experts", "export", "tinny", "new"], "did you mean tiny?"),
    (["experts", "export", "tiny", "full"], "not empty"),
    (["experts", "export", "tiny", "blank.txt/below"], "blank.txt"),
    (["show", "x" * 300], "File name too long"),
    (["show", "~nobody-here/x"], "write the path out"),
    (["show", "number"], "number"),
    (["show", "list"], "list"),
    (["-sc", "frobnicate"], "install=bash"),
    (["-sc"], "install=bash"),
]


@pytest.fixture
def stumbling(folder, monkeypatch):
    """A working folder with things to stumble over; no weight may be read in it."""
    (folder / "full").mkdir()
    for name, text in (("number", "3"), ("list", "[]")):
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(text)
    (folder / "own").mkdir()
    (folder / "own" / "late.yaml").write_text(
        "defaults: [schema, experts: tiny, scheduler: confiner_9]"
    )
    (folder / "full" / "mine.txt").write_text("mine")
    (folder / "latin.txt").write_bytes("Füchse".encode("latin-1"))
    (folder / "blank.txt").write_text(" \n\n")

    def refuse(*arguments):
        raise AssertionError("a weight is read")

    monkeypatch.setattr(Components, "model", refuse)
    return folder


def assert_two_lines(ending: Ending, words: str) -> None:
    error, hint = ending.err.splitlines()
    assert (ending.code, ending.out) == (2, ""), ending
    assert error.startswith("error: ") and hint.startswith("hint: "), ending.err
    assert words in ending.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["generate", *words], expected) for words, expected in REFUSED] + REFUSED_COMMANDS,
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_what_the_user_can_fix_is_two_lines_and_leaves_nothing(stumbling, arguments, words):
    before = {path: path.is_file() and path.read_bytes() for path in stumbling.rglob("*")}
    assert_two_lines(confiner(*arguments), words)
    assert {path: path.is_file() and path.read_bytes() for path in stumbling.rglob("*")} == before


def test_the_two_lines_stay_two_with_tracebacks_asked_for(stumbling, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert_two_lines(generate(PROMPT, "height=65"), "height=64")


def test_a_failure_of_ours_is_two_lines_or_a_traceback_if_asked_for(monkeypatch):
    def fail(arguments):
        raise ZeroDivisionError("seven by nought")

    monkeypatch.setattr(cli, "dispatch", fail)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    ending = confiner("show", "x")
    assert ending.code == 1
    assert ending.err.splitlines()[0] == "error: ZeroDivisionError: seven by nought"
    assert len(ending.err.splitlines()) == 2
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ZeroDivisionError):
        confiner("show", "x")


def test_the_process_ends_with_the_code_and_without_a_traceback(tmp_path):
    ending = ended(started("generate", PROMPT, "experts=tinny", folder=tmp_path))
    assert_two_lines(ending, "did you mean tiny?")
    assert not any(tmp_path.iterdir())


HEAVY = {"torch", "hydra", "omegaconf", "diffusers", "numpy", "rich"}


@pytest.mark.parametrize(
    ("arguments", "words", "unwanted"),
    [
        ([], "generate", HEAVY),
        (["--help"], "generate", HEAVY),
        (["--version"], "confiner ", HEAVY),
        (["generate", "--help"], "confiner_18", HEAVY),
        (["experts"], "tiny", {"torch"}),
        (["plan"], "in all", {"torch", "diffusers"}),
        (
            ["generate", "prompt=a, (b) ${c}", "--cfg", "job"],
            "prompt: a, (b) \\${c}",
            {"torch", "diffusers"},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_answers_that_need_no_model_import_none(tmp_path, arguments, words, unwanted):
    program = (
        f"import sys; from confiner_cli.cli import main; code = main({arguments!r});"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert words in result.stdout
    assert not unwanted & set(result.stderr.split())
    assert not any(tmp_path.iterdir())


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    with started("generate", PROMPT, "--cfg", "job", folder=tmp_path) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0

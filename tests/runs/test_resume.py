"""However a run stopped, whoever asks, it goes on from what is whole; a finished one is left."""

import json
import os
import pickle
import shutil
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file, save_file
from support import killing
from support.command_line import PROMPT, SMALLEST, confiner, ended, facts_of, generate
from support.forked import CONTEXT, forked
from support.killing import (
    SHORT,
    Moment,
    assert_clean,
    events_of,
    frames_of,
    gone_on,
    made,
    stages_of,
    started_to_die,
)

from confiner_cli.config.resolve import resolve
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.media.video import read_video
from confiner_cli.runs import perform
from confiner_cli.runs.executor import execute
from confiner_cli.runs.journal import Journal
from confiner_cli.runs.loaded_pipeline import load_pipeline
from confiner_cli.runs.lock import locked
from confiner_cli.runs.memory_store import MemoryStore
from confiner_cli.runs.perform import Performer, graph_of
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.runs.record import FORMAT
from confiner_cli.runs.tasks import LATENTS, Kind

LAST = 3
"""The last window of SHORT."""


def unfinished(folder, *words):
    """A run that Ctrl-C stopped when it had made its frames."""
    with mock.patch("confiner_cli.runs.execute.write_contact_sheet", side_effect=KeyboardInterrupt):
        assert generate(*words, f"output.dir={folder}").code == 130
    assert facts_of(folder)["status"] == "interrupted"
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped."""
    return generate(*SHORT, f"output.dir={tmp_path_factory.mktemp('whole') / 'run'}").folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The same run, stopped when its last window was to be refined."""
    folder = tmp_path_factory.mktemp("stopped") / "run"

    def window(pipeline, number, *others):
        if number == LAST:
            raise KeyboardInterrupt
        return refine_window(pipeline, number, *others)

    refine_window = perform.refine_window
    with mock.patch("confiner_cli.runs.perform.refine_window", window):
        ending = generate(*SHORT, f"output.dir={folder}")
    assert ending.code == 130 and f"confiner resume {folder}" in ending.err
    return folder


@pytest.fixture
def copied(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


def test_the_same_command_with_resume_goes_on_and_computes_only_what_is_missing(copied, whole):
    before = stages_of(copied)
    gone_on(copied, *SHORT)
    assert made(copied).files == made(whole).files
    assert stages_of(copied) - before == {("refinement", LAST): 1}
    facts = facts_of(copied)
    assert (facts["status"], facts["resumed"]) == ("done", 1)
    assert facts["evaluations"] == facts_of(whole)["evaluations"]
    assert_clean(copied)


def test_resume_in_a_new_folder_begins_a_run(tmp_path):
    folder = generate(PROMPT, *SMALLEST, f"output.dir={tmp_path / 'new'}", "resume=true").folder
    assert facts_of(folder)["status"] == "done" and "resumed" not in facts_of(folder)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), id="resume"),
        pytest.param((PROMPT, *SMALLEST), id="generate", marks=pytest.mark.thorough),
    ],
)
def test_a_drawn_seed_is_drawn_once(tmp_path, words):
    folder = unfinished(tmp_path / "run", PROMPT, *SMALLEST)
    seed = facts_of(folder)["seed"]
    gone_on(folder, *words)
    assert facts_of(folder)["seed"] == facts_of(folder)["config"]["seed"] == seed
    again = generate(PROMPT, *SMALLEST, f"seed={seed}", f"output.dir={tmp_path / 'again'}").folder
    assert frames_of(again / "video.mp4") == frames_of(folder / "video.mp4")


@pytest.mark.parametrize("of", ["stopped", "whole"])
def test_other_settings_are_refused_by_their_names_and_nothing_is_touched(request, of):
    folder = request.getfixturevalue(of)
    before = killing.contents(folder)
    changed = [word.replace("seed=7", "seed=8").replace("overlap=2", "overlap=3") for word in SHORT]
    ending = generate(*changed, f"output.dir={folder}", "resume=true")
    assert (ending.code, ending.out) == (2, "")
    error, hint = ending.err.splitlines()
    assert "long_video.window_overlap, seed differ" in error and f"confiner resume {folder}" in hint
    assert killing.contents(folder) == before


@pytest.mark.parametrize("words", [(), SHORT], ids=["resume", "generate"])
def test_a_finished_run_says_so_and_is_left_as_it_is(whole, words):
    before = killing.contents(whole)
    ending = (
        generate(*words, f"output.dir={whole}", "resume=true")
        if words
        else confiner("resume", str(whole))
    )
    assert (ending.code, ending.out) == (0, f"{whole / 'video.mp4'}\n")
    assert ending.err == f"already done: {whole}\n"
    assert killing.contents(whole) == before


@pytest.mark.parametrize("words", [(), SHORT], ids=["resume", "generate"])
def test_what_a_kill_in_a_run_s_last_moments_has_left_is_removed(tmp_path, whole, words):
    folder = shutil.copytree(whole, tmp_path / "run")
    before = killing.contents(folder)
    (folder / "parts").mkdir()
    for name in (".lock", ".video.7.writing.mp4", "parts/structure-000001.safetensors"):
        (folder / name).write_bytes(b"left")
    killing.gone_on(folder, *words)
    killing.assert_clean(folder)
    assert killing.contents(folder) == before


@pytest.mark.parametrize(
    "name",
    [
        "video.mp4",
        pytest.param("structure.mp4", marks=pytest.mark.thorough),
        pytest.param("contact_sheet.png", marks=pytest.mark.thorough),
    ],
)
def test_what_a_finished_run_has_lost_is_made_again(tmp_path, whole, name):
    folder = shutil.copytree(whole, tmp_path / "run")
    (folder / name).unlink()
    gone_on(folder)
    assert made(folder).files == made(whole).files
    assert_clean(folder)


def end_torn(path):
    os.truncate(path, path.stat().st_size - 1)


def add_noise(path):
    path.write_bytes(b'\xff{"finished": 7}\n[]\n' + path.read_bytes() + b'{"finished": {"video-0')


DAMAGES = {
    "a part is gone, bits of others are flipped": [
        ("video-000001.mp4", os.unlink),
        ("video-000000.mp4", killing.flip),
        ("structure-000001.mp4", killing.flip),
    ],
    "a part is cut, a bit of a window's latents is flipped": [
        ("video-000001.mp4", killing.cut),
        ("window-000002.safetensors", killing.flip),
    ],
    "a window's latents are gone, a bit of a structure's is flipped": [
        ("window-000002.safetensors", os.unlink),
        ("structure-000002.safetensors", killing.flip),
    ],
    "a window's latents are cut, a structure's are gone": [
        ("window-000002.safetensors", killing.cut),
        ("structure-000002.safetensors", os.unlink),
    ],
    "the journal's last line is torn": [("journal.jsonl", end_torn)],
    "the journal has lines that are none": [("journal.jsonl", add_noise)],
    "the journal is gone": [("journal.jsonl", os.unlink)],
    "all is gone": [("", shutil.rmtree)],
}
QUICK = ("a part is gone, bits of others are flipped", "the journal has lines that are none")


def damages():
    """All of them, those that are not `QUICK` as thorough tests."""
    return [
        pytest.param(damage, id=name, marks=[] if name in QUICK else [pytest.mark.thorough])
        for name, damage in DAMAGES.items()
    ]


@pytest.mark.parametrize("damage", damages())
def test_what_is_damaged_is_made_again(copied, whole, damage):
    for name, harm in damage:
        harm(copied / "parts" / name)
    gone_on(copied)
    assert made(copied).files == made(whole).files
    assert_clean(copied)


@pytest.mark.thorough
def test_what_an_older_version_has_begun_is_made_again(copied, whole):
    facts = facts_of(copied)
    del facts["format"]
    (copied / "run.json").write_text(json.dumps(facts))
    structure = copied / "parts" / "structure-000002.safetensors"
    save_file({"latents": load_file(structure)["latents"]}, structure)
    Journal(copied / "parts").add(structure)
    gone_on(copied)
    assert made(copied).files == made(whole).files
    assert facts_of(copied)["format"] == FORMAT
    assert_clean(copied)


@pytest.mark.parametrize("command", ["resume", "generate"])
def test_a_run_in_use_is_refused(copied, command):
    words = (
        (*SHORT, f"output.dir={copied}", "resume=true") if command == "generate" else (str(copied),)
    )
    before = killing.contents(copied)
    with locked(copied):
        ending = confiner(command, *words)
    assert (ending.code, ending.out) == (2, "")
    error, _ = ending.err.splitlines()
    assert "in use" in error and f"process {os.getpid()}" in error
    assert killing.contents(copied) == before


@pytest.mark.thorough
def test_a_second_process_is_refused_while_one_runs_and_its_lock_dies_with_it(tmp_path, whole):
    waiting = Moment("confiner_cli.runs.open_run:encode_chunk", 1, "structure-000001.mp4", "wait")
    folder = tmp_path / "run"
    with started_to_die(waiting, "generate", *SHORT, "output.dir=run", folder=tmp_path) as process:
        killing.wait_for(folder, "structure", 1)
        ending = confiner("resume", str(folder))
        process.kill()
    assert ending.code == 2 and f"in use by another run, process {process.pid} on " in ending.err
    assert (folder / ".lock").read_text().startswith(f"process {process.pid} ")
    gone_on(folder)
    assert made(folder).files == made(whole).files
    assert_clean(folder)


@pytest.mark.parametrize("there", [True, False])
def test_to_go_on_with_what_is_no_run_is_two_lines(tmp_path, there):
    folder = tmp_path / "no run"
    if there:
        folder.mkdir()
    ending = confiner("resume", str(folder))
    assert (ending.code, ending.out) == (2, "")
    error, hint = ending.err.splitlines()
    assert (
        error.startswith(f"error: {folder} is not a run folder")
        and hint == "hint: confiner resume RUN_DIR or SWEEP_DIR"
    )
    assert there == folder.exists()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.thorough)],
)
def test_a_signal_says_how_to_go_on_and_what_is_finished_is_not_made_again(
    tmp_path, whole, number, code
):
    folder = tmp_path / "run"
    process = forked("generate", *SHORT, "output.dir=run", folder=tmp_path)
    killing.wait_for(folder, "refinement", 1)
    process.send_signal(number)
    ending = ended(process)
    assert (ending.code, ending.out) == (code, "")
    said = ending.err.splitlines()[-2:]
    assert said == [
        f"to go on: confiner resume {folder}",
        {130: "interrupted", 143: "terminated"}[code],
    ]
    assert facts_of(folder)["status"] == events_of(folder)[-1]["event"] == "interrupted"
    gone_on(folder)
    assert made(folder).files == made(whole).files
    assert sum((stages_of(folder) - stages_of(whole)).values()) <= 2
    assert_clean(folder)


@pytest.mark.thorough
def test_a_second_interrupt_leaves_at_once_and_the_run_goes_on_all_the_same(tmp_path, whole):
    folder = tmp_path / "run"
    waiting = Moment("confiner_cli.runs.open_run:encode_chunk", 1, "video-000000.mp4", "wait")
    process = started_to_die(waiting, "generate", *SHORT, "output.dir=run", folder=tmp_path)
    killing.wait_for(folder, "refinement", 1)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None, "it waits for its encoder"
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        # One that comes before the process has met the first is no second one.
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert ended(process).code == 130
    gone_on(folder)
    assert made(folder).files == made(whole).files
    assert_clean(folder)


def job_of(*words):
    return resolve(settings_of_words(words))


def performer_of(job):
    loaded = load_pipeline([job], NetworkCache())
    joining = loaded.joining(lambda latents: [list(loaded.decoder(latents))])
    return Performer(loaded.pipeline, lambda task: plain, joining, loaded.decoder.parts)


def plain(stage, steps, total):
    return steps


@pytest.fixture(scope="module")
def everything():
    """A job, and every result on the way to its video."""
    job = job_of(*SHORT)
    perform = performer_of(job)
    graph, store = graph_of(perform.pipeline, perform.joining), MemoryStore(keep=LATENTS)
    for _ in execute(graph.goals(), graph, store, perform):
        pass
    return job, graph, {task: at_once(result) for task, result in store.results.items()}


def at_once(result):
    """A result whose frames are no more on their way."""
    if not isinstance(result, list):
        return result
    return [list(chain.from_iterable(parts)) for parts in result]


def done_elsewhere(parcel):
    """Do a task in a process that knows nothing but the job, the task and what it needs."""
    job, task, needed = pickle.loads(parcel)
    return pickle.dumps(at_once(performer_of(job)(task, needed)))


@pytest.mark.parametrize("kind", Kind)
def test_a_task_done_in_another_process_has_the_bits_that_it_has_here(everything, kind):
    job, graph, results = everything
    task = next(each for each in results if (each.kind, each.number) == (kind, 1))
    needed = {need: results[need] for need in graph.needs(task)}
    assert needed
    parcel = pickle.dumps((job, task, needed))
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as process:
        made = pickle.loads(process.submit(done_elsewhere, parcel).result())
    assert same(made, results[task])


def same(one, other) -> bool:
    """Whether two results have the same bits."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one.latents, other.latents) and all(
        torch.equal(eps, other.noises[step]) for step, eps in one.noises.items()
    )


@pytest.mark.parametrize("num_frames", [1, 33])
def test_a_video_has_just_as_many_frames_as_were_asked_for(tmp_path, num_frames):
    words = (PROMPT, *SMALLEST[1:], "long_video=confiner_long", f"num_frames={num_frames}")
    folder = generate(*words, f"output.dir={tmp_path / 'run'}").folder
    assert [len(read_video(folder / name)) for name in ("structure.mp4", "video.mp4")] == [
        num_frames
    ] * 2


@pytest.mark.thorough
def test_a_video_that_fits_one_structure_is_the_same_with_and_without_long_video(tmp_path):
    words = (
        "output.save_latents=true",
        "num_frames=16",
        *(word for word in SHORT if "frame" not in word),
    )
    short = [word for word in words if "long_video" not in word]
    long, short = (
        generate(*each, f"output.dir={tmp_path / str(len(each))}").folder for each in (words, short)
    )
    one, other = (load_file(folder / "latents.safetensors") for folder in (long, short))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert frames_of(long / "video.mp4") == frames_of(short / "video.mp4")

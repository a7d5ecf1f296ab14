"""What a worker does with its messages: on a GPU of its own, and when it fails."""

from __future__ import annotations

import pickle
import socket

import numpy as np
import pytest
import torch
from support.command_line import PROMPT
from support.crews import Stand
from support.fake_gpu_networks import fake_gpu_with_networks

from confiner_cli.config.resolve import resolve
from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.runs.tasks import Kind, Task
from confiner_cli.runs.workers import processes
from confiner_cli.runs.workers.hiring import hands_for
from confiner_cli.runs.workers.post import Post
from confiner_cli.runs.workers.travelling import Failure, Order, Setup
from confiner_cli.runs.workers.work import Work

SMALL = (PROMPT, "seed=3", "dtype=float32", "height=16", "width=16", "num_frames=2")
FIRST = Task(Kind.STRUCTURE, 0)


@pytest.fixture
def job():
    return resolve(settings_of_words(SMALL))


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Sitting(Post):
    """A post in the test's own process, with work that is there already."""

    def __init__(self, work=None):
        self._work = work


def all_tasks(work):
    """Every result of a short video, as it travels, and what was said of it."""
    made, answers = {}, []
    for kind, needs in (
        (Kind.STRUCTURE, ()),
        (Kind.PREVIEW, (Kind.STRUCTURE,)),
        (Kind.WINDOW, (Kind.STRUCTURE,)),
        (Kind.CHUNK, (Kind.WINDOW,)),
    ):
        needed = {Task(need, 0): made[need] for need in needs}
        order = pickle.loads(pickle.dumps(Order(Task(kind, 0), needed)))
        answers.append(pickle.loads(pickle.dumps(work.do(order))))
        made[kind] = answers[-1].result
    return made, answers


def test_what_a_gpu_makes_arrives_as_what_a_cpu_makes(job):
    work = Work(Setup((job,), number=0, threads=1, gpus=False))
    assert work.load().device == "cpu"
    here, answers = all_tasks(work)
    assert [sum(answer.spent["evaluations"].values()) > 0 for answer in answers] == [1, 0, 1, 0]
    events = [event for answer in answers for event, _ in answer.events]
    assert events.count("stage") == 2 and events.count("visit") == 4 + 4
    with fake_gpu_with_networks():
        on_gpu = Work(Setup((job,), number=0, threads=1, gpus=True))
        on_gpu.load()
        there, _ = all_tasks(on_gpu)
        assert on_gpu.meter.device.type == "cuda"
    for kind in (Kind.WINDOW, Kind.CHUNK, Kind.PREVIEW):
        one, other = (np.asarray(made[kind], dtype=np.float64) for made in (here, there))
        assert np.abs(one - other).max() <= 1e-4 * np.abs(one).max() + 1 * (kind != Kind.WINDOW)


def test_a_worker_without_a_gpu_of_its_own_says_so(job):
    with pytest.raises(ConfinerError, match="there is no GPU for worker 5"):
        Work(Setup((job,), number=5, threads=1, gpus=True)).load()


def test_what_a_task_fails_of_is_an_answer_with_its_cure(job, monkeypatch):
    work = Work(Setup((job,), number=0, threads=1, gpus=False))
    work.load()

    def full(*arguments):
        work.meter.stage = "structure"
        raise torch.OutOfMemoryError

    monkeypatch.setattr("confiner_cli.runs.perform.sample_structure", full)
    failure = pickle.loads(pickle.dumps(Sitting(work).answer(Order(FIRST, {}))))
    assert isinstance(failure, Failure) and failure.host == socket.gethostname()
    assert str(failure.error).startswith("the GPU is out of memory in the stage structure")
    assert "memory=low" in failure.error.hint and failure.error.exit_code == 2


def test_what_nobody_expected_is_our_failure(job, monkeypatch):
    work = Work(Setup((job,), number=0, threads=1, gpus=False))
    work.load()
    monkeypatch.setattr(Work, "do", lambda self, order: 1 / 0)
    failure = Sitting(work).answer(Order(FIRST, {}))
    assert isinstance(failure.error, FailedError) and "ZeroDivisionError" in str(failure.error)


def test_a_post_sets_up_its_work(job):
    ready = Sitting().answer(Setup((job,), number=0, threads=1, gpus=False))
    assert (ready.device, ready.threads, ready.dtype, ready.base_noise) == (
        "cpu",
        1,
        "float32",
        None,
    )
    assert set(ready.weights) == {"control", "spatial", "temporal"}


@pytest.mark.parametrize(
    ("words", "gpus", "crew", "own"),
    [
        ((), 3, 3, True),
        (("workers=2",), 3, 2, True),
        (("device=cuda:1",), 3, 1, False),
        (("device=cpu", "workers=2"), 3, 2, False),
    ],
)
def test_workers_have_a_gpu_each_unless_a_person_has_named_one(monkeypatch, words, gpus, crew, own):
    hired, contexts = [], []

    def hire(context):
        contexts.append(context)
        hired.append(Stand(None))
        return hired[-1]

    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(processes, "importing", lambda: None)
    monkeypatch.setattr(processes, "ProcessWorker", hire)
    job = resolve(settings_of_words([PROMPT, "executor=processes", *words]))
    with hands_for([job]) as hands:
        hands._set_up(0)
        assert hired[0].asked[0][1].gpus == own
    assert len(hired) == crew
    on_gpus = "device=cpu" not in words  # which a fork of what has asked for them cannot use
    assert contexts == [processes.NEW if on_gpus else None] * crew


def test_more_workers_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(processes, "importing", lambda: None)
    job = resolve(settings_of_words([PROMPT, "executor=processes", "workers=4"]))
    with pytest.raises(ConfinerError, match=r"workers=4 are more than the GPUs here \(2\)"):
        hands_for([job])

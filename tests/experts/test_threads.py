"""Threads may share what they load, and what the process has only once."""

import logging
import os
import signal
import threading
import time
from contextlib import suppress

import hydra
import pytest
import torch
from support.command_line import PROMPT, QUICK, SMALLEST, confiner
from torch import nn

from confiner_cli import api
from confiner_cli.config.hydra import compose
from confiner_cli.config.resolve import resolve
from confiner_cli.errors import ConfinerError
from confiner_cli.experts import forking
from confiner_cli.experts.loading_messages import LIBRARIES, collected
from confiner_cli.experts.offload import POLICIES, Handle, NetworkCache
from confiner_cli.runs.loaded_pipeline import load_pipeline
from confiner_cli.runs.provenance import settings_of_words

CPU = torch.device("cpu")
A_MOMENT = 0.2
"""Seconds in which nothing must happen."""


def together(*calls):
    """Do all of it at once; what they raise is raised here."""
    errors, start = [], threading.Barrier(len(calls))

    def work(call):
        start.wait()
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


class Watched(nn.Module):
    """A network that says when it is moved."""

    def __init__(self):
        super().__init__()
        self.moved = threading.Event()

    def to(self, *arguments, **options):
        self.moved.set()
        return super().to(*arguments, **options)


def handle(role, cache, load, policy="balanced"):
    return Handle(role, role, CPU, POLICIES[policy], cache, load)


def test_no_thread_moves_a_network_that_another_one_computes_with():
    cache, network = NetworkCache(), Watched()
    control = handle("control", cache, lambda: network)
    spatial = handle("spatial", cache, nn.Identity)
    other = threading.Thread(target=spatial)
    with control.computing() as computing:
        other.start()
        assert computing is network and not network.moved.wait(A_MOMENT)
    other.join()
    assert network.moved.is_set() and set(cache.on_device) == {"spatial"}


def test_threads_that_make_room_in_one_cache_all_get_their_networks():
    cache = NetworkCache()

    def ask(role, policy):
        asked = handle(role, cache, nn.Identity, policy)
        for _ in range(300):
            with asked.computing() as network:
                assert isinstance(network, nn.Identity)

    calls = [(role, policy) for role in ("control", "spatial") for policy in ("balanced", "low")]
    together(*(lambda each=each: ask(*each) for each in calls))


@pytest.mark.thorough
def test_videos_of_threads_are_those_of_one_after_another_with_one_set_or_two():
    words = (*QUICK, "height=16", "width=16")
    with api.load("tiny", *words, memory="balanced") as one, api.load("tiny", *words) as other:
        alone = {seed: one.generate("a red heart", seed=seed).frames for seed in range(3)}
        made = []

        def make(loaded, seed, *overrides):
            made.append((seed, loaded.generate("a red heart", *overrides, seed=seed).frames))

        together(
            *(lambda seed=seed: make(one, seed) for seed in range(3)),
            lambda: make(other, 0),
            lambda: make(other, 1, "memory=low"),
        )
    assert len(made) == 5
    for seed, frames in made:
        difference = (frames.int() - alone[seed].int()).abs().max()
        assert difference <= 1  # memory=low has other last bits


def test_what_libraries_talk_to_is_as_before_when_two_threads_have_loaded():
    def talkers():
        loggers = [logging.getLogger(library) for library in LIBRARIES]
        return [(list(logger.handlers), logger.propagate) for logger in loggers]

    before, inside, leave = talkers(), threading.Event(), threading.Event()

    def load():
        with collected():
            inside.set()
            leave.wait()

    other = threading.Thread(target=load)
    with collected():
        other.start()
        assert not inside.wait(A_MOMENT)
    leave.set()
    other.join()
    assert talkers() == before


def test_threads_compose_one_after_another(monkeypatch):
    at_work, most, real = [], [], hydra.compose

    def composing(*arguments, **options):
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(A_MOMENT / 4)
        try:
            return real(*arguments, **options)
        finally:
            at_work.pop()

    monkeypatch.setattr(hydra, "compose", composing)
    together(*(lambda seed=seed: compose([f"seed={seed}"]) for seed in range(3)))
    assert most == [1, 1, 1]


@pytest.mark.usefixtures("folder")
def test_the_command_runs_in_any_thread(folder):
    endings = []
    words = ("generate", PROMPT, *SMALLEST, "output.dir=run")
    thread = threading.Thread(target=lambda: endings.append(confiner(*words)))
    thread.start()
    thread.join()
    (ending,) = endings
    assert (ending.code, ending.out) == (0, f"{folder / 'run' / 'video.mp4'}\n"), ending.err


@pytest.fixture
def _listening():
    """Shells may start jobs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def stopped():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)


def told_as_damage():
    try:
        raise KeyboardInterrupt
    except BaseException as error:
        raise ConfinerError("the weights cannot be loaded", "get others") from error


def told_as_damage_without_a_reason():
    with suppress(KeyboardInterrupt):
        stopped()
    raise ConfinerError("the weights cannot be loaded", "get others")


def not_told():
    with suppress(KeyboardInterrupt):
        stopped()
    return nn.Identity()


@pytest.mark.usefixtures("_listening")
@pytest.mark.parametrize(
    "load", [stopped, told_as_damage, told_as_damage_without_a_reason, not_told]
)
def test_a_stop_while_weights_load_is_one_whatever_a_library_makes_of_it(load):
    cache = NetworkCache()
    with pytest.raises(KeyboardInterrupt):
        handle("control", cache, load)()
    assert not cache.modules and not cache.on_device
    assert isinstance(handle("control", cache, nn.Identity)(), nn.Identity)


@pytest.fixture
def _forked(monkeypatch):
    """As if this process came of another one that had begun to compute."""
    monkeypatch.setattr(forking, "_began_in", [os.getppid()])


@pytest.mark.usefixtures("_forked")
def test_a_fork_is_refused_where_it_would_wait_for_threads_that_it_has_not(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    loaded = []
    asked = handle("control", NetworkCache(), lambda: loaded.append(1))
    job = resolve(settings_of_words(["prompt=a red heart", "num_frames=1"]))
    for ask in (asked, lambda: load_pipeline([job], NetworkCache())):
        with pytest.raises(ConfinerError, match="was forked from") as refused:
            ask()
        assert "spawn" in refused.value.hint
    assert not loaded


@pytest.mark.usefixtures("_forked")
def test_a_fork_may_load_and_compute_with_one_thread_where_it_is_asked_for():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with api.load("tiny", *SMALLEST, threads=1) as alone:
            assert len(alone.generate("a red heart").structure) == 1
        with pytest.raises(ConfinerError, match="was forked from"):
            api.load("tiny", *SMALLEST)
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("_forked")
def test_a_fork_with_one_thread_may_compute(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert isinstance(handle("control", NetworkCache(), nn.Identity)(), nn.Identity)

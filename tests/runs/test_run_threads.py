"""The number of threads: chosen for a run, lent by the process, written down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from support.command_line import PROMPT, SMALLEST, confiner, facts_of, generate

from confiner_cli import api
from confiner_cli.config.resolve import resolve
from confiner_cli.runs import threads
from confiner_cli.runs.provenance import recipe, settings_of_words
from confiner_cli.runs.threads import computing_with, threads_of


@pytest.fixture
def job():
    return resolve(settings_of_words([PROMPT]))


@pytest.fixture
def machine(monkeypatch):
    """Of 16 cores, where nobody has set a number; returns what sets it."""

    def has(own: int, usable: int, **environment: str) -> None:
        for name in threads.CHOSEN_BY:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(torch, "get_num_threads", lambda: own)
        monkeypatch.setattr(threads, "usable_cpus", lambda: usable)

    return has


def test_auto_is_the_cores_that_a_process_may_use_and_its_networks_keep_busy(machine, job):
    large = resolve(settings_of_words([PROMPT, "experts=lavie_sd"]))
    machine(own=16, usable=32)
    assert (threads_of([large]), threads_of([job])) == (16, 1)
    machine(own=16, usable=3)
    assert (threads_of([large]), threads_of([job])) == (3, 1)
    assert threads_of([job] * 8) > 1


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_who_has_set_torchs_own_number_has_it_where_there_are_so_many(machine, job, name):
    machine(own=4, usable=16, **{name: "4"})
    assert threads_of([job]) == 4
    machine(own=4, usable=2, **{name: "4"})
    assert threads_of([job]) == 2


def test_a_number_that_is_asked_for_is_taken(machine):
    machine(own=1, usable=1)
    assert threads_of([resolve(settings_of_words([PROMPT, "threads=5"]))]) == 5


def test_torchs_number_is_put_back_whatever_happens():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), computing_with(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
    with computing_with(None):
        assert torch.get_num_threads() == before


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with one thread more than torch's own."""
    folder, number = tmp_path_factory.mktemp("made") / "run", torch.get_num_threads() + 1
    return generate(PROMPT, *SMALLEST, f"threads={number}", f"output.dir={folder}").folder


@pytest.fixture
def run(made, tmp_path):
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def interrupted(run, *forgotten):
    """The run as if it had been stopped, by a version that did not know of `forgotten`."""
    facts = facts_of(run) | {"status": "interrupted"}
    for name in forgotten:
        del facts[name], facts["config"][name]
    (run / "run.json").write_text(json.dumps(facts))


def test_a_command_lends_a_run_its_threads_and_writes_them_down(made):
    facts, before = facts_of(made), torch.get_num_threads()
    assert facts["threads"] == facts["config"]["threads"] == before + 1
    assert torch.get_num_interop_threads() == 1


def test_a_record_brings_nobody_its_threads(made):
    assert settings_of_words([f"from={made}"]).threads == "auto"
    assert "threads" not in json.loads(recipe(settings_of_words([PROMPT]), {}))["config"]


def test_a_run_that_goes_on_with_other_threads_says_so(run):
    facts = facts_of(run)
    interrupted(run)
    words = (PROMPT, *SMALLEST, f"seed={facts['seed']}", f"output.dir={run}", "resume=true")
    ending = generate(*words, "threads=1")
    assert f"threads were {facts['threads']} and are now 1" in ending.err
    assert facts_of(ending.folder)["threads"] == 1


def test_a_run_goes_on_with_its_own_threads(run):
    facts = facts_of(run)
    interrupted(run)
    ending = confiner("resume", str(run))
    assert ending.code == 0 and "threads were" not in ending.err
    assert facts_of(run)["threads"] == facts["threads"]


def test_a_run_that_is_done_is_done_with_any_number_of_threads(run):
    words = (f"from={run}", f"output.dir={run}", "resume=true", "threads=1")
    assert "already done" in generate(*words).err


def test_an_older_run_goes_on_without_a_word_of_threads(run):
    interrupted(run, "threads")
    ending = confiner("resume", str(run))
    assert ending.code == 0 and "threads" not in ending.err


def test_from_python_a_number_holds_while_a_video_is_made_and_auto_is_torchs_own(monkeypatch):
    seen, real = [], api._videos

    def videos(*arguments):
        seen.append(torch.get_num_threads())
        return real(*arguments)

    monkeypatch.setattr(api, "_videos", videos)
    before = torch.get_num_threads()
    with api.load("tiny", *SMALLEST, threads=before + 1) as confiner:
        confiner.generate("a red heart")
        confiner.generate("a red heart", f"threads={before + 2}")
        confiner.generate("a red heart", "threads=auto")
    assert seen == [before + 1, before + 2, before]
    assert torch.get_num_threads() == before

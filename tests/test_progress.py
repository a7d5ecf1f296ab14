"""What a person sees while waiting, and that none of it ends the work."""

import sys
from contextlib import redirect_stderr
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from rich.table import Table
from support.streams import DEAF, deaf

from confiner_cli import progress


class HungUp(StringIO):
    """A terminal whose window was closed."""

    def isatty(self):
        return True

    def write(self, text):
        raise OSError(5, "Input/output error")


def test_more_than_was_to_do_ends_nothing():
    """Where everything was done and something turned out to be damaged, it is made again."""
    with progress.evaluations(0) as tell:
        tell("refinement")


def test_without_a_terminal_a_transfer_says_how_much_there_is_every_ten_seconds(
    monkeypatch, capsys
):
    seconds = iter(range(100))
    monkeypatch.setattr(progress, "monotonic", lambda: next(seconds))
    assert sum(progress.transfer([10**8] * 24, 3 * 10**9)) == 24 * 10**8
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["1.10 GB of 3.00 GB", "2.20 GB of 3.00 GB"]


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 bytes"), (1200, "1.2 kB"), (45_600_000, "45.6 MB"), (3_637_000_000, "3.64 GB")],
)
def test_an_amount_is_said_in_a_unit_in_which_it_is_not_nothing(count, words):
    assert progress.amount(count) == words


@pytest.mark.parametrize("kind", DEAF)
def test_a_stderr_that_takes_nothing_ends_no_work(kind):
    with deaf(kind) as stream, redirect_stderr(stream):
        show_all()


def test_a_terminal_that_is_gone_ends_no_work():
    with redirect_stderr(HungUp()):
        show_all()


def show_all():
    progress.say("a line")
    with progress.evaluations(2) as tell:
        tell("structure")
        tell("refinement")
    assert list(progress.transfer([1, 2], total=3)) == [1, 2]
    table = Table("job")
    table.add_row("0")
    progress.console().print(table)


def test_characters_that_stderr_has_not_are_escaped(monkeypatch):
    stream = TextIOWrapper(BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stderr", stream)
    progress.say("ü ☃ \udcff")
    assert stream.buffer.getvalue() == b"\xfc \\u2603 \\udcff\n"


def test_what_takes_long_says_at_times_how_far_it_is(monkeypatch, capsys):
    times = iter(range(0, 1000, 20))
    monkeypatch.setattr(progress, "monotonic", lambda: next(times))
    assert list(progress.counted("abcd", "checked")) == list("abcd")
    assert capsys.readouterr().err == "checked: 1 of 4\nchecked: 3 of 4\n"

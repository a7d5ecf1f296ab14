"""What a person sees while waiting."""

import pytest

from confiner_cli import progress


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

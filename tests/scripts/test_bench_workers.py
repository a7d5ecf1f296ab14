"""The table of one worker against several: medians over rounds, ratios within them."""

from __future__ import annotations

from bench_workers import Run, row


def test_ratios_are_of_the_same_round():
    ones = [Run(20.0, 0.02, None), Run(40.0, 0.02, 22.0), Run(30.0, 0.02, 33.0)]
    twos = [Run(10.0, 0.01, 11.0), Run(25.0, 0.03, 20.0), Run(16.0, 0.02, 16.0)]
    assert row(1, ones, ones) == "1 | 30.0 | 1.00 | 2.0% | 27.5 | -17%"
    assert row(2, twos, ones) == "2 | 16.0 | 1.88 | 2.0% | 16.0 | +0%"


def test_without_a_run_before_nothing_was_planned():
    assert (
        row(1, [Run(20.0, 0.02, None)], [Run(20.0, 0.02, None)]) == "1 | 20.0 | 1.00 | 2.0% |  | "
    )

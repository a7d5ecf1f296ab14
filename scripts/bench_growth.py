"""How seconds and memory grow: against frames, pixels, and seeds in a batch.

    python scripts/bench_growth.py
    python scripts/bench_growth.py --quick

Whole runs of the embedded experts with one thread, each in a process of its own in which imports
and loading are done. CPU seconds are the process's, without ffmpeg's. Memory is the most that it
held, pages of files apart, and how much of that came during the run. Each column is fitted as a
power of the first one: the exponent is below it, with how well it fits (r squared).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from machine import machine
from neighbours.answer import Answer
from neighbours.process import Worker

LENGTHS, SIDES, BATCHES = (16, 32, 64, 200, 600), (64, 96, 128, 192, 256), (1, 2, 4, 8)
MIB = 2**20
LIMIT = 600.0
LONG = ("long_video=confiner_long",)


@dataclass(frozen=True)
class Point:
    """A run of a series: how large it is, and what makes it so."""

    size: int
    words: tuple[str, ...]
    batch: int = 1


@dataclass(frozen=True)
class Series:
    """Runs that differ in one size."""

    title: str
    points: tuple[Point, ...]


def series(quick: bool) -> tuple[Series, ...]:
    """What is measured."""
    count = 3 if quick else None
    lengths, sides, batches = (sizes[:count] for sizes in (LENGTHS, SIDES, BATCHES))
    few = ("num_frames=4",)
    return (
        Series("frames", tuple(Point(n, (f"num_frames={n}", *LONG)) for n in lengths)),
        Series("pixels of a frame", tuple(Point(n * n, (*few, *square(n))) for n in sides)),
        Series("seeds in a batch", tuple(Point(n, few, batch=n) for n in batches)),
    )


def square(side: int) -> tuple[str, str]:
    """The settings of a frame of so many pixels a side."""
    return f"height={side}", f"width={side}"


def measured(point: Point) -> Answer:
    """What a run takes in a new process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    worker = Worker((*point.words, "seed=1", "threads=1"), environment, point.batch)
    try:
        worker.begin()
        return worker.end(LIMIT)
    finally:
        worker.close()


def table(one: Series) -> Iterator[str]:
    """A series, a line at a time, and its exponents."""
    yield f"| {one.title} | CPU seconds | peak, MiB | of it in the run, MiB |"
    yield "|---|---|---|---|"
    columns: list[tuple[float, float, float]] = []
    for point in one.points:
        answer = measured(point)
        columns.append((answer.cpu, answer.peak / MIB, (answer.peak - answer.held) / MIB))
        cpu, peak, more = columns[-1]
        yield f"| {point.size} | {cpu:.2f} | {peak:.0f} | {more:.0f} |"
    sizes = [point.size for point in one.points]
    fitted = [power(sizes, column) for column in zip(*columns, strict=True)]
    yield f"| exponent | {' | '.join(fitted)} |"


def power(sizes: Sequence[float], values: Sequence[float]) -> str:
    """The exponent of `values ~ sizes ** exponent`, and r squared."""
    if min(values) <= 0:
        return ""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    exponent = statistics.linear_regression(x, y).slope
    fit = statistics.correlation(x, y) ** 2
    return f"**{exponent:.2f}** ({fit:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and smaller runs")
    options = parser.parse_args()
    print(f"{machine()}; one thread", flush=True)
    for one in series(options.quick):
        print(flush=True)
        for line in table(one):
            print(line, flush=True)


if __name__ == "__main__":
    main()

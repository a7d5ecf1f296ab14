"""Runs beside other programs, by threads and by how they wait.

    python scripts/bench_threads.py
    python scripts/bench_threads.py --quick
    python scripts/bench_threads.py --spin 1000 5000
    python scripts/bench_threads.py --cpus 1.25 1.5 -- num_frames=8 height=128 width=128

Prints two tables. *Beside others*: seconds of whole runs (run.json's total; imports and loading are
done before) on an idle machine, beside one and two busy programs, two runs at once, and in a cgroup
with a quota (as root). In turns, medians; behind each its ratio to the same on the idle
machine. A run that passes the limit is stopped. *By size*: one pass of a network with one thread
and with two, in turns, in one process.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confiner_cli.runs import wait_policy
from machine import machine
from neighbours.process import SlowError, Worker, busy
from neighbours.quota import granted

DECIDING = (*wait_policy.CHOSEN_BY, "OMP_NUM_THREADS", "MKL_NUM_THREADS", "SLURM_CPUS_PER_TASK")
"""Variables that decide about threads: a way to run has its own, and no others."""
SIZES = Path(__file__).parent / "neighbours" / "sizes.py"


@dataclass(frozen=True)
class Way:
    """How runs are made: settings and environment."""

    name: str
    words: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)


def asleep(*words: str, name: str) -> Way:
    """A way of the command's own."""
    environment: dict[str, str] = {}
    wait_policy.wait_asleep(environment)
    return Way(name, words, environment)


WAYS = (
    asleep(name="as it comes"),
    asleep("threads=1", name="1 thread"),
    asleep("threads=2", name="2, PASSIVE"),
    Way("2, unset", ("threads=2",)),
    Way("2, ACTIVE", ("threads=2",), {"OMP_WAIT_POLICY": "ACTIVE"}),
)


@dataclass(frozen=True)
class Condition:
    """What is beside a run.

    Attributes:
        busy: programs that are always busy.
        runs: how many runs are made at once, this one included.
        cpus: the quota of a cgroup that they are in; None is no cgroup.
    """

    busy: int = 0
    runs: int = 1
    cpus: float | None = None


CONDITIONS = {
    "idle": Condition(),
    "one busy program": Condition(busy=1),
    "two busy programs": Condition(busy=2),
    "two runs at once": Condition(runs=2),
}


def spinning(turns: int) -> Way:
    """Two threads that look so many times before they sleep."""
    return Way(f"2, {turns} turns", ("threads=2",), {"GOMP_SPINCOUNT": str(turns)})


def under(cpus: float) -> dict[str, Condition]:
    """A quota, by its name."""
    return {f"a quota of {cpus:g} CPUs": Condition(cpus=cpus)}


class Bench:
    """Workers for each way, started when they are first needed; closed at the end of a `with`."""

    def __init__(self, ways: Sequence[Way], words: Sequence[str], limit: float) -> None:
        self.ways = tuple(ways)
        self.words = tuple(words)
        self.limit = limit
        self.workers: dict[Way, list[Worker]] = {way: [] for way in ways}

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        for way in self.workers:
            self.stop(way)

    def stop(self, way: Way) -> None:
        """End a way's workers."""
        while self.workers[way]:
            self.workers[way].pop().close()

    def ready(self, way: Way, count: int) -> list[Worker]:
        """So many workers of a way."""
        others = {name: text for name, text in os.environ.items() if name not in DECIDING}
        environment = {**others, **way.environment}
        while len(self.workers[way]) < count:
            self.workers[way].append(Worker((*self.words, *way.words), environment))
        return self.workers[way][:count]

    def seconds(self, way: Way, condition: Condition, place: Callable[[int], None]) -> float:
        """What a run takes, the longest where there are several at once.

        Raises:
            SlowError: it passed the limit.
        """
        workers = self.ready(way, condition.runs)
        for worker in workers:
            place(worker.process.pid)
        with busy(condition.busy):
            for worker in workers:
                worker.begin()
            try:
                answers = [worker.end(self.limit) for worker in workers]
            except SlowError:
                self.stop(way)
                raise
        return max(answer.seconds for answer in answers)


def rows(bench: Bench, conditions: Mapping[str, Condition], runs: int) -> Iterator[str]:
    """The first table, a line at a time."""
    yield f"| | {' | '.join(way.name for way in bench.ways)} |"
    yield f"|---{'|---' * len(bench.ways)}|"
    idle: dict[Way, float] = {}
    for name, condition in conditions.items():
        try:
            medians = medians_in(bench, condition, runs)
        except OSError as error:
            yield f"| {name} | left out: {error} {'| ' * (len(bench.ways) - 1)}|"
            continue
        idle = idle or medians
        cells = [cell(medians[way], idle[way], bench.limit) for way in bench.ways]
        yield f"| {name} | {' | '.join(cells)} |"


def cell(seconds: float, idle: float, limit: float) -> str:
    """Seconds and their ratio to those on the idle machine."""
    least = min(seconds, limit)
    ratio = "" if math.isinf(idle) else f" ({least / idle:.2f})"
    return f"over {limit:.0f} s{ratio}" if seconds > limit else f"{seconds:.2f} s{ratio}"


def medians_in(bench: Bench, condition: Condition, runs: int) -> dict[Way, float]:
    """Each way's seconds; infinite where one run has passed the limit, after which is no other.

    Raises:
        OSError: a cgroup cannot be made; says why.
    """
    found: dict[Way, list[float]] = {way: [] for way in bench.ways}
    with placed(condition.cpus) as place:
        for _ in range(runs):
            for way in bench.ways:
                if math.inf not in found[way]:
                    found[way].append(tried(bench, way, condition, place))
    return {way: median_of(seconds) for way, seconds in found.items()}


def median_of(seconds: list[float]) -> float:
    """The median; infinite where one is."""
    return max(seconds) if math.isinf(max(seconds)) else statistics.median(seconds)


def tried(bench: Bench, way: Way, condition: Condition, place: Callable[[int], None]) -> float:
    """Seconds of one run; infinite where it passed the limit."""
    try:
        return bench.seconds(way, condition, place)
    except SlowError:
        return math.inf


@contextmanager
def placed(cpus: float | None) -> Iterator[Callable[[int], None]]:
    """What puts a process where so many CPUs are granted; nothing where there is no quota."""
    with ExitStack() as stack:
        yield stack.enter_context(granted(cpus)) if cpus else lambda pid: None


def by_size(quick: bool) -> str:
    """The second table, made in a process in which threads sleep."""
    others = {name: text for name, text in os.environ.items() if name not in DECIDING}
    environment = {**others, "OMP_WAIT_POLICY": "PASSIVE"}
    words = ["--quick"] if quick else []
    return subprocess.check_output([sys.executable, str(SIZES), *words], env=environment, text=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--limit", type=float, default=20, help="seconds that a run may take")
    parser.add_argument("--quick", action="store_true", help="one run of each, of 2 frames")
    parser.add_argument("--spin", type=int, nargs="*", default=[], help="GOMP_SPINCOUNT, too")
    parser.add_argument("--cpus", type=float, nargs="*", default=[1], help="quotas")
    parser.add_argument("words", nargs="*", help="settings of the runs: num_frames=8")
    options = parser.parse_args()
    if options.quick:
        options.runs, options.limit = 1, 10
    words = options.words or [f"num_frames={2 if options.quick else 8}"]
    ways = [*WAYS, *map(spinning, options.spin)]
    conditions = dict(CONDITIONS)
    for cpus in options.cpus:
        conditions |= under(cpus)
    print(f"{' '.join(words)}; {machine()}\n", flush=True)
    with Bench(ways, words, options.limit) as bench:
        for line in rows(bench, conditions, options.runs):
            print(line, flush=True)
    print(f"\n{by_size(options.quick)}", flush=True)


if __name__ == "__main__":
    main()

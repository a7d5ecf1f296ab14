"""A split of seconds adds up; what it watches is there; a run's activities are all told."""

import sys
from threading import Thread

import bench
from confiner_cli.experts.offload import NetworkCache
from whole import watch
from whole.process import START
from whole.processes import told
from whole.split import NETWORK, REST, Split

SMALL = ("generate", f"prompt={bench.PROMPT}", "seed=1", "num_frames=2")


class Clock:
    """A clock that is set."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_innermost_activity_has_the_seconds_and_the_rest_has_what_is_left():
    clock = Clock()
    split = Split(clock=clock)
    clock.now = 1
    with split.doing("outer"):
        clock.now = 3
        with split.doing("inner"):
            clock.now = 6
        clock.now = 10
    clock.now = 15
    split.mark()
    assert split.seconds == {REST: 6, "outer": 6, "inner": 3}
    assert split.total == 15
    assert split.calls == {"outer": 1, "inner": 1}


def test_another_thread_has_no_part_in_it():
    split = Split()
    thread = Thread(target=split.of("elsewhere", lambda: None))
    thread.start()
    thread.join()
    split.mark()
    assert set(split.seconds) == {REST}


def test_a_run_is_split_without_a_gap_and_everything_is_as_before_afterwards():
    plain = {point: found(point) for point in watch.POINTS if module_of(point) in sys.modules}
    with NetworkCache() as cache:
        split = bench.warm_run(bench.job_of("steady"), cache)
    roles = {name for name in split.seconds if name.startswith(NETWORK)}
    assert roles == {NETWORK + role for role in bench.operations(bench.job_of("steady"))}
    assert {name for name in bench.AROUND if not split.seconds[name]} == set()
    assert 0 < split.networks < split.total
    assert {point: found(point) for point in plain} == plain


def module_of(point):
    return point.partition(":")[0]


def found(point):
    """What a point names now."""
    owner = sys.modules[module_of(point)]
    for name in point.partition(":")[2].split("."):
        owner = getattr(owner, name)
    return owner


def test_a_process_tells_what_it_was_doing(tmp_path):
    facts = told(tmp_path, START, *SMALL, f"output.dir={tmp_path / 'run'}")
    watched = {START, watch.IMPORTS, watch.CONFIG, *bench.AROUND}
    assert watched <= {name for name, seconds in facts.seconds.items() if seconds > 0}
    assert facts.calls[NETWORK + "control"] == 4
    assert (tmp_path / "run" / "video.mp4").exists()

"""Who does what next: needs come first, little is on its way, and the forecast does the same."""

from __future__ import annotations

import random

import pytest

from confiner_cli.method.long.timeline import Timeline
from confiner_cli.runs.executor import discard_unneeded
from confiner_cli.runs.memory_store import MemoryStore
from confiner_cli.runs.tasks import Kind, Task, TaskGraph
from confiner_cli.runs.workers.scheduler import AHEAD, Scheduler
from confiner_cli.runs.workers.simulation import Seconds, simulate

TIMELINES = [
    Timeline(5, 8),
    Timeline(9, 8),
    Timeline(40, 8, overlap=4),
    Timeline(41, 8, overlap=3, staggered=False),
    Timeline(61, 7, overlap=2),
]
GRAPHS = [TaskGraph(timeline, follows) for timeline in TIMELINES for follows in (False, True)]
UNITS = Seconds({Kind.STRUCTURE: 3.0, Kind.WINDOW: 5.0, Kind.PREVIEW: 1.0, Kind.CHUNK: 1.0})


class Floor:
    """Workers that end their tasks in an order that is drawn; looks at all that is handed out."""

    def __init__(self, graph, workers, seed, deaths=0.0, stored=()):
        self.graph, self.draw, self.deaths = graph, random.Random(seed), deaths
        self.store = MemoryStore(results=dict.fromkeys(stored, True))
        self.handed, self.done, self.goals, self.most = [], [], [], 0
        self.scheduler = Scheduler(graph.goals(), graph, self.store.has, workers)
        for worker in range(workers):
            self.scheduler.join(worker)

    def work(self):
        self.goals += self.scheduler.watchable()
        while not self.scheduler.finished:
            while (order := self.scheduler.next()) is not None:
                assert all(self.store.has(need) for need in self.graph.needs(order.task))
                self.handed.append(order)
            self.step()
            self.goals += self.scheduler.watchable()
        return self

    def step(self):
        busy = [worker for worker, hand in self.scheduler.hands.items() if hand.task is not None]
        assert len(self.scheduler.in_flight) == len(set(self.scheduler.in_flight)) == len(busy)
        worker = self.draw.choice(busy)
        if self.draw.random() < self.deaths:
            self.scheduler.leave(worker)
            self.scheduler.join(worker)
            return
        task = self.scheduler.hands[worker].task
        self.store.put(task, True)
        self.scheduler.finish(worker)
        self.done.append(task)
        discard_unneeded(self.graph, self.store)
        self.most = max(self.most, len(self.store.latents()))


@pytest.fixture(params=GRAPHS, ids=str)
def graph(request):
    return request.param


@pytest.mark.parametrize("workers", [1, 2, 5, 100])
def test_every_task_is_done_once_after_what_it_needs_and_goals_come_in_order(graph, workers):
    floor = Floor(graph, workers, seed=workers).work()
    assert len(floor.done) == len(set(floor.done))
    assert set(graph.goals()) <= set(floor.done)
    assert floor.goals == list(graph.goals())


@pytest.mark.parametrize("seed", range(20))
def test_a_worker_that_dies_costs_its_task_only(seed):
    graph = random.Random(seed).choice(GRAPHS)
    floor = Floor(graph, 3, seed, deaths=0.3).work()
    assert len(floor.done) == len(set(floor.done)) and floor.goals == list(graph.goals())


@pytest.mark.parametrize("seed", range(20))
def test_what_is_stored_is_not_made_again(seed):
    draw = random.Random(seed)
    graph = draw.choice(GRAPHS)
    stored = [task for task in Floor(graph, 1, seed).work().done if draw.random() < 0.5]
    again = Floor(graph, 2, seed, stored=stored).work()
    assert not set(stored) & set(again.done) and again.goals == list(graph.goals())


@pytest.mark.parametrize("workers", [1, 4])
def test_what_is_kept_on_the_way_is_a_few_for_each_worker_whatever_the_length(workers):
    kept = []
    for num_frames in (200, 2000):
        graph = TaskGraph(Timeline(num_frames, 8, overlap=4), follows=False)
        kept.append(Floor(graph, workers, seed=1).work().most)
    assert kept[1] <= kept[0] + 2 and kept[1] <= 2 * AHEAD * workers + 4


def test_nothing_is_begun_far_ahead_of_what_can_be_watched():
    graph, workers = TaskGraph(Timeline(2000, 8, overlap=4), follows=True), 3
    floor = Floor(graph, workers, seed=2)
    while not floor.scheduler.finished:
        while (order := floor.scheduler.next()) is not None:
            finished = {task.number for task in floor.done if task.kind is Kind.CHUNK}
            first = next(number for number in range(10**6) if number not in finished)
            begun = {number for number in range(first, order.task.number) if number not in finished}
            assert len(begun) <= AHEAD * workers + 1, order
        floor.step()
        list(floor.scheduler.watchable())


def test_structures_that_follow_each_other_come_first_and_stay_with_one_worker():
    graph = TaskGraph(Timeline(160, 16, overlap=8), follows=True)
    scheduler = Scheduler(graph.goals(), graph, set().__contains__, workers=2)
    scheduler.join(0)
    scheduler.join(1)
    first = scheduler.next()
    assert first.task == Task(Kind.STRUCTURE, 0) and scheduler.next() is None
    scheduler.finish(first.worker)
    then = [scheduler.next(), scheduler.next()]
    assert (then[0].worker, then[0].task) == (first.worker, Task(Kind.STRUCTURE, 1))
    assert then[1].worker != first.worker and then[1].task == Task(Kind.PREVIEW, 0)


def test_a_worker_goes_on_with_what_it_has_networks_for():
    graph = TaskGraph(Timeline(400, 16, overlap=8), follows=False, previewed=False)
    floor = Floor(graph, 4, seed=3).work()
    cold = [order for order in floor.handed if order.is_first]
    assert len(cold) <= 4 * 3
    changes = sum(
        one.worker == other.worker and one.task.kind != other.task.kind
        for one, other in zip(floor.handed, floor.handed[1:], strict=False)
    )
    assert changes < len(floor.handed) / 2


def work_of(graph):
    return sum(UNITS.of[task.kind] for task in Floor(graph, 1, seed=0).work().done)


def longest_chain(graph):
    """Seconds until the last goal where there are workers for all tasks."""
    ends = {}

    def end(task):
        if task not in ends:
            ends[task] = max(map(end, graph.needs(task)), default=0) + UNITS.of[task.kind]
        return ends[task]

    return max(map(end, graph.goals()))


def test_one_worker_takes_as_long_as_all_tasks_together(graph):
    forecast = simulate(graph, UNITS, workers=1)
    assert forecast.total == forecast.busy == work_of(graph)
    assert forecast.efficiency == 1


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_workers_take_no_longer_than_graham_allows_and_no_less_than_there_is(graph, workers):
    total, work, chain = simulate(graph, UNITS, workers).total, work_of(graph), longest_chain(graph)
    assert max(work / workers, chain) <= total + 1e-9
    assert total <= work / workers + (1 - 1 / workers) * chain + 1e-9


def test_with_workers_for_all_tasks_it_takes_the_longest_chain(graph):
    assert simulate(graph, UNITS, workers=1000).total == pytest.approx(longest_chain(graph))


def test_a_forecast_worked_out_by_hand():
    # Two structures, three windows: S0, S1 | P0, W0, P1, W1 (of both), W2 | C0, C1 (of W0, W1), C2.
    graph = TaskGraph(Timeline(16, 8, overlap=2), follows=True)
    seconds = Seconds(UNITS.of, cold={Kind.WINDOW: 10.0}, start=7.0, finish=2.0)
    # Worker 0: S0 until 3, S1 6, W1 21, P0 22, C0 23, P1 24, C2 25. Worker 1: W0 from 3 until 18,
    # W2 23, C1 24. All is taken up from the start, so frames come last.
    assert simulate(graph, seconds, workers=2).total == 7 + 25 + 2


def test_the_encoder_the_driver_and_what_is_done_already_count():
    graph = TaskGraph(Timeline(160, 16, overlap=8), follows=False)
    plain = simulate(graph, UNITS, workers=4)
    slow = simulate(graph, Seconds(UNITS.of, encode=20.0), workers=4)
    assert slow.total >= 11 * 20 > plain.total
    driven = simulate(graph, Seconds(UNITS.of, driver=5.0), workers=4)
    assert driven.total >= 5.0 * len(plain.order)
    half = simulate(graph, UNITS, workers=4, done=plain.order[: len(plain.order) // 2])
    assert half.total < plain.total and not set(half.order) & set(
        plain.order[: len(plain.order) // 2]
    )

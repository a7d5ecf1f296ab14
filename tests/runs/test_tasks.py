"""Tasks and their executor: what is needed is there, nothing is done twice, little is kept."""

from __future__ import annotations

import pickle
import random

import pytest

from confiner_cli.method.long.timeline import Timeline
from confiner_cli.runs.executor import execute, missing
from confiner_cli.runs.memory_store import MemoryStore
from confiner_cli.runs.tasks import LATENTS, Kind, Task, TaskGraph, shown_by

TIMELINES = [
    Timeline(5, 8),
    Timeline(8, 8),
    Timeline(9, 8),
    Timeline(40, 8),
    Timeline(40, 8, overlap=4),
    Timeline(41, 8, overlap=3),
    Timeline(41, 8, overlap=3, staggered=False),
    Timeline(61, 7, overlap=2),
    Timeline(30, 1),
]
GRAPHS = [TaskGraph(timeline, follows) for timeline in TIMELINES for follows in (False, True)]
MANY = 200


class Recorder:
    """Makes of a task a value that says all that it was made of, and counts how often."""

    def __init__(self, graph):
        self.graph = graph
        self.done = []

    def __call__(self, task, needed):
        assert tuple(needed) == self.graph.needs(task)
        self.done.append(task)
        return hash((task, *needed.values()))


@pytest.fixture(params=GRAPHS, ids=str)
def graph(request):
    return request.param


def everything(graph, store=None):
    """All goals brought about; the frames by task, and what was done for them."""
    store = MemoryStore() if store is None else store
    recorder = Recorder(graph)
    assert list(execute(graph.goals(), graph, store, recorder)) == list(graph.goals())
    return store, recorder


def test_every_task_is_done_once_and_only_frames_are_left(graph):
    store, recorder = everything(graph)
    assert len(set(recorder.done)) == len(recorder.done)
    assert {task.kind for task in store.results} == {Kind.PREVIEW, Kind.CHUNK}
    counts = graph.timeline.structure_count, graph.timeline.window_count
    assert sorted(task.number for task in store.results if task.kind is Kind.PREVIEW) == list(
        range(counts[0])
    )
    assert sorted(task.number for task in store.results if task.kind is Kind.CHUNK) == list(
        range(counts[1])
    )


def test_goals_show_every_frame_of_both_videos_once_and_in_order(graph):
    for kind in (Kind.PREVIEW, Kind.CHUNK):
        spans = [shown_by(goal, graph.timeline) for goal in graph.goals() if goal.kind is kind]
        shown = [frame for span in spans for frame in span.frames]
        assert shown == list(range(int(graph.timeline.num_frames)))


def test_needs_and_users_are_two_sides_of_one_thing(graph):
    counts = {
        Kind.STRUCTURE: graph.timeline.structure_count,
        Kind.PREVIEW: graph.timeline.structure_count,
        Kind.WINDOW: graph.timeline.window_count,
        Kind.CHUNK: graph.timeline.window_count,
    }
    tasks = [Task(kind, number) for kind, count in counts.items() for number in range(count)]
    needs = {(task, need) for task in tasks for need in graph.needs(task)}
    users = {(user, task) for task in tasks for user in graph.users(task)}
    assert needs == users


def test_latents_in_a_store_stay_a_few_whatever_the_length():
    most = []
    for num_frames in (64, 640):
        graph = TaskGraph(Timeline(num_frames, 8, overlap=4), follows=True)
        store, recorder = MemoryStore(), Recorder(graph)
        kept = [len(store.latents()) for _ in execute(graph.goals(), graph, store, recorder)]
        most.append(max(kept))
    assert most[0] == most[1] <= 5


class Counting(MemoryStore):
    """Counts what it is asked."""

    asked = 0

    def has(self, task):
        self.asked += 1
        return super().has(task)


@pytest.mark.parametrize("keep", [(), LATENTS], ids=["few latents", "all latents"])
def test_a_task_of_a_long_video_asks_no_more_of_its_store(keep):
    asked = []
    for num_frames in (80, 800):
        graph = TaskGraph(Timeline(num_frames, 8, overlap=4), follows=True)
        store, recorder = everything(graph, Counting(keep=keep))
        asked.append(store.asked / len(recorder.done))
    assert asked[1] < 1.2 * asked[0]


@pytest.mark.parametrize("seed", range(MANY))
def test_whatever_is_lost_is_made_again_to_the_same_and_nothing_else(seed):
    draw = random.Random(seed)
    graph = draw.choice(GRAPHS)
    whole, _ = everything(graph)
    goals = list(graph.goals())
    store = MemoryStore()
    stop = draw.randrange(len(goals))
    for number, _ in enumerate(execute(goals, graph, store, Recorder(graph))):
        if number == stop:
            break
    kept = {task: value for task, value in store.results.items() if draw.random() < 0.7}
    again, recorder = everything(graph, MemoryStore(results=dict(kept)))
    assert again.results == whole.results
    assert not set(recorder.done) & set(kept)
    assert len(set(recorder.done)) == len(recorder.done)


def test_tasks_of_a_goal_come_after_what_they_need(graph):
    last = list(graph.goals())[-1]
    order = missing(last, graph, MemoryStore().has)
    assert order[-1] == last
    for number, task in enumerate(order):
        assert set(graph.needs(task)) <= set(order[:number])


def test_any_order_that_needs_allow_comes_to_the_same(graph):
    whole, _ = everything(graph)
    keep_all = MemoryStore(keep=LATENTS)
    goals = list(graph.goals())
    random.Random(0).shuffle(goals)
    for _ in execute(goals, graph, keep_all, Recorder(graph)):
        pass
    assert {task: keep_all.results[task] for task in whole.results} == whole.results


def test_a_graph_and_its_tasks_pickle(graph):
    tasks = list(graph.goals())
    assert pickle.loads(pickle.dumps((graph, tasks))) == (graph, tasks)


def test_a_video_without_an_end_has_goals_without_an_end():
    graph = TaskGraph(Timeline(float("inf"), 8, overlap=2), follows=True)
    store, recorder = MemoryStore(), Recorder(graph)
    for number, _ in enumerate(execute(graph.goals(), graph, store, recorder)):
        if number == 100:
            break
    assert len(recorder.done) > 100 and len(store.latents()) <= 5

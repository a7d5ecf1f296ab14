"""Workers in any order, that die or not, make what one process makes, to the bit."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from support.crews import NOTHING, READY, Conducted, Quiet, Stand, Timed
from support.pipelines import joined, performer, pipeline_of, plain

from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.method.options import LongVideoOptions
from confiner_cli.method.pipeline import Structure
from confiner_cli.runs.executor import execute
from confiner_cli.runs.memory_store import MemoryStore
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.perform import graph_of
from confiner_cli.runs.tasks import Kind, Task
from confiner_cli.runs.workers.crew import Crew
from confiner_cli.runs.workers.scheduler import AHEAD
from confiner_cli.runs.workers.simulation import Seconds, simulate
from confiner_cli.runs.workers.travelling import Failure, packed, unpacked

FOLLOWING = LongVideoOptions(coherence=0.2)
SECONDS = Seconds({Kind.STRUCTURE: 3.1, Kind.WINDOW: 5.3, Kind.PREVIEW: 1.7, Kind.CHUNK: 1.9})
VIDEOS = {
    "independent": {"num_frames": 21, "segment_frames": 4, "overlap": 2},
    "following": {
        "num_frames": 21, "segment_frames": 4, "overlap": 2, "long_video": FOLLOWING,
    },
    "of two seeds": {
        "num_frames": 10, "segment_frames": 4, "long_video": FOLLOWING, "seeds": (1, 2),
    },
    "of one structure": {"num_frames": 3, "segment_frames": 4},
}  # fmt: skip


@pytest.fixture(scope="module", params=VIDEOS)
def made(request):
    """A pipeline, its graph, and the frames that one process makes, in the place of which are
    latents."""
    pipeline = pipeline_of(**VIDEOS[request.param])
    graph, store = graph_of(pipeline, joined(pipeline)), MemoryStore()
    for _ in execute(graph.goals(), graph, store, performer(pipeline, plain)):
        pass
    whole = {
        task: [[torch.cat(list(parts))] for parts in frames]
        for task, frames in store.results.items()
    }
    return pipeline, graph, whole


def by(crew, graph, store=None):
    store = MemoryStore() if store is None else store
    with crew:
        assert list(crew.bring_about(graph.goals(), graph, store, Quiet())) == list(graph.goals())
    assert all(stand.dismissed for stand in crew.stands)
    return store.results


def assert_same(found, expected):
    assert set(found) == set(expected)
    for task, frames in expected.items():
        for one, other in zip(frames, found[task], strict=True):
            assert torch.equal(torch.cat(list(one)), torch.cat(list(other))), task


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("workers", [1, 2, 4, 50])
def test_whoever_does_what_in_whatever_order_it_comes_to_the_same_bits(made, workers, seed):
    pipeline, graph, expected = made
    crew = Conducted(partial(Stand, pipeline), workers, seed)
    assert_same(by(crew, graph), expected)
    assert crew.most <= workers
    crew.handed.pop(None)
    assert set(crew.handed.values()) == {1}


@pytest.mark.parametrize("seed", range(5))
def test_workers_that_die_cost_their_task_only(made, seed, capsys):
    pipeline, graph, expected = made
    crew = Conducted(partial(Stand, pipeline), 3, seed, deaths=0.15)
    try:
        found = by(crew, graph)
    except FailedError as error:  # three at one task
        assert "3 in all" in str(error)
        return
    assert_same(found, expected)
    died = capsys.readouterr().err.count("died at")
    assert sum(crew.handed.values()) == died + len(crew.handed) - 1 + len(crew.stands)


def test_a_run_goes_on_with_another_number_of_workers(made):
    pipeline, graph, expected = made
    store = MemoryStore()
    with Conducted(partial(Stand, pipeline), 1, seed=1) as crew:
        for number, _ in enumerate(crew.bring_about(graph.goals(), graph, store, Quiet())):
            if number == 2:
                break
    before = set(store.results)
    crew = Conducted(partial(Stand, pipeline), 4, seed=2)
    assert_same(by(crew, graph, store), expected)
    assert not before & set(crew.handed)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_a_forecast_has_the_order_of_the_run(made, workers):
    pipeline, graph, _ = made
    crew = Timed(partial(Stand, pipeline), workers, SECONDS)
    list(crew.bring_about(graph.goals(), graph, MemoryStore(), Quiet()))
    forecast = simulate(graph, SECONDS, workers)
    assert tuple(crew.order[workers:]) == forecast.order
    assert crew.now == pytest.approx(forecast.total)


def test_latents_that_are_kept_do_not_grow_with_the_video():
    most = []
    for num_frames in (40, 120):
        pipeline = pipeline_of(num_frames=num_frames, segment_frames=4, overlap=2)
        graph, store = graph_of(pipeline, joined(pipeline)), Counting()
        by(Conducted(partial(Stand, pipeline), 2, seed=3), graph, store)
        most.append(store.most)
    assert most[1] <= most[0] + 1 and most[1] <= 2 * AHEAD * 2 + 4


class Counting(MemoryStore):
    """Notes how many latents it has had at once."""

    most, stored = 0, frozenset()

    def put(self, task, result):
        super().put(task, result)
        self.stored |= {task}
        self.most = max(self.most, len(self.latents()))


class Failing(Stand):
    """Has no memory left when it is given a window."""

    def _reply(self, message):
        if getattr(message, "task", None) == Task(Kind.WINDOW, 1):
            error = ConfinerError("the GPU is out of memory", "memory=low")
            return Failure(error, "node-7")
        return super()._reply(message)


def test_what_a_task_fails_of_ends_the_run_and_names_the_worker(made):
    pipeline, graph, _ = made
    if graph.timeline.window_count < 2:
        return
    with (
        Conducted(partial(Failing, pipeline), 2, seed=1) as crew,
        pytest.raises(ConfinerError, match=r"worker \d on node-7: the GPU is out of mem") as raised,
    ):
        list(crew.bring_about(graph.goals(), graph, MemoryStore(), Quiet()))
    assert raised.value.hint == "memory=low" and raised.value.exit_code == 2
    assert all(stand.dismissed for stand in crew.stands)


class Bare(Stand):
    """A machine without the files."""

    def _reply(self, message):
        return Failure(ConfinerError("spatial: x/y is not in the cache", "download it"), "node-7")


def test_a_machine_without_the_files_of_the_experts_says_how_they_come_there():
    with pytest.raises(ConfinerError, match=r"worker 0 on node-7: spatial: x/y is not") as raised:
        Conducted(partial(Bare, None), 1, seed=1)
    assert "on node-7, too: `confiner experts download`" in raised.value.hint


class Together(Conducted):
    """All answer at once."""

    def replies(self):
        for stand in self.stands:
            if stand.asked:
                stand.answer()
        return Crew.replies(self)


def test_what_one_worker_fails_of_costs_nothing_that_others_have_done():
    pipeline = pipeline_of(num_frames=21, segment_frames=4, overlap=2)
    graph, store = graph_of(pipeline, joined(pipeline)), Counting()
    with Together(partial(Failing, pipeline), 4, seed=1) as crew:
        with pytest.raises(ConfinerError, match="out of memory"):
            list(crew.bring_about(graph.goals(), graph, store, Quiet()))
        del crew.handed[None], crew.handed[Task(Kind.WINDOW, 1)]
        assert store.stored == set(crew.handed)


def test_a_task_that_kills_every_worker_ends_the_run(made):
    pipeline, graph, _ = made
    with Conducted(partial(Stand, pipeline), 2, seed=1, deaths=1.0) as crew:
        with pytest.raises(FailedError, match=r"died at structure 0 .* 3 in all"):
            list(crew.bring_about(graph.goals(), graph, MemoryStore(), Quiet()))
        assert crew.handed[Task(Kind.STRUCTURE, 0)] == 3


def test_machines_with_other_weights_are_refused():
    pipeline = pipeline_of(num_frames=21, segment_frames=4)
    graph, digests = graph_of(pipeline, joined(pipeline)), iter("ab")

    def worker():
        weights = {"control": {"unet": {"/unet.safetensors": next(digests) * 64}}}
        return Stand(pipeline, replace(READY, weights=weights))

    with pytest.raises(FailedError, match=r"has other weights than those of here"):
        crew = Conducted(worker, 2, seed=1)
        list(crew.bring_about(graph.goals(), graph, MemoryStore(), Quiet()))


def test_events_say_whose_they_are():
    pipeline = pipeline_of(num_frames=3, segment_frames=4)
    graph, witness = graph_of(pipeline, joined(pipeline)), Quiet()
    crew = Conducted(partial(Stand, pipeline), 1, seed=1)
    list(crew.bring_about(graph.goals(), graph, MemoryStore(), witness))
    assert {facts["worker"] for _, facts in witness.events} == {"worker 0 on here"}


def test_results_travel_as_arrays_and_arrive_as_they_were():
    latents = torch.randn(1, 4, 3, 8, 8)
    structure = Structure(2, latents, {0: latents + 1}, (True,))
    arrived = unpacked(packed(structure), 2)
    assert torch.equal(arrived.latents, latents) and torch.equal(arrived.noises[0], latents + 1)
    assert (arrived.number, arrived.backwards) == (2, (True,))
    frames = torch.randint(0, 255, (5, 8, 8, 3), dtype=torch.uint8)
    (parts,) = unpacked(packed([[frames[:2], frames[2:]]]), 2)
    assert [len(part) for part in parts] == [2, 2, 1] and torch.equal(torch.cat(parts), frames)
    array = packed(latents)
    array.flags.writeable = False  # as Ray lends them
    assert torch.equal(unpacked(array, 2), latents)


def test_what_workers_spend_is_added_up_and_memory_is_that_of_the_largest():
    meter = Meter()
    for peak in (2**50, 2**40):
        spent = NOTHING | {"evaluations": {"spatial": 2}, "peak_memory_bytes": peak}
        meter.take_over(spent | {"seconds": {"structure": 1.5, "total": 9.0}})
    assert meter.evaluations == {"spatial": 4} and meter.memory.seen == 2**50
    assert meter.seconds == {"structure": 3.0}


def test_a_job_has_the_graph_of_its_pipeline():
    from support.command_line import PROMPT

    from confiner_cli.config.resolve import resolve
    from confiner_cli.experts.offload import NetworkCache
    from confiner_cli.runs.job_graph import evaluations_of, graph_of_job
    from confiner_cli.runs.loaded_pipeline import load_pipeline
    from confiner_cli.runs.provenance import settings_of_words

    long = ("long_video=confiner_long", "num_frames=40")
    for words in (long, (*long, "long_video.turn=false"), ("scheduler=spatial_alone",)):
        job = resolve(settings_of_words([PROMPT, *words]))
        loaded = load_pipeline([job], NetworkCache())
        pipeline = loaded.pipeline
        assert graph_of_job(job) == graph_of(pipeline, loaded.joining(loaded.decoder.parts))
        assert evaluations_of(job, Kind.STRUCTURE) == pipeline.structure_evaluations
        assert evaluations_of(job, Kind.WINDOW) == pipeline.refinement_evaluations

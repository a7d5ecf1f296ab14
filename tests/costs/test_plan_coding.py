"""A plan counts the frames that a run then decodes and encodes, in each latent space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import pytest
import torch
from support.command_line import confiner
from support.media_files import filmed
from support.toy_experts import Networked
from torch import Tensor

from confiner_cli.config.job import Job
from confiner_cli.config.resolve import resolve
from confiner_cli.costs.estimate import rows
from confiner_cli.costs.table import costs
from confiner_cli.experts.coded_space import CodedSpace
from confiner_cli.experts.networks.frame_parts import alike
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.experts.vae import Decoder, Encoder, Pixels, refuse_frames
from confiner_cli.runs import loaded_pipeline
from confiner_cli.runs.executor import execute
from confiner_cli.runs.loaded_pipeline import load_pipeline
from confiner_cli.runs.memory_store import MemoryStore
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.perform import Performer, graph_of
from confiner_cli.runs.provenance import settings_of_words

SIDE = 64
SMALL = ("prompt=x", "seed=1", f"height={SIDE}", f"width={SIDE}", "device=cpu")
CUT = ("long_video.segment_frames=9", "num_frames=40")
LONG = ("long_video=confiner_long", *CUT)
GIVEN = "structure.video={video}"
STEPS, PATTERN = "scheduler.refinement.num_inference_steps", "scheduler.refinement.pattern"
WAN = ("experts=wan", f"{STEPS}=2")
SD_WAN = ("experts=lavie_sd", "experts/temporal=wan21_1_3b")
TEMPORAL_FIRST = (*SD_WAN, f"{PATTERN}=temporal_first")
REPLACE = "scheduler.refinement.bridge=replace"
REMEMBERING = (*SD_WAN, f"{STEPS}=2", f"{PATTERN}=[two_visits,temporal_first]")
"""The spatial expert is asked again when a walk still knows, but just, what it has said."""
FORGETTING = (*SD_WAN, f"{STEPS}=3", f"{PATTERN}=[two_visits,temporal_only,temporal_first]")
CASES = {
    "short": ("num_frames=5",),
    "long": LONG,
    "previewed": (*LONG, "output.structure=preview"),
    "not shown": (*LONG, "output.structure=false"),
    "given": (GIVEN, "num_frames=7"),
    "given, long": (GIVEN,),
    "frames": (*WAN, "num_frames=15"),
    "frames, long": (*WAN, *LONG),
    "frames, unstaggered": (*WAN, *LONG, "long_video.staggered=false"),
    "frames, not shown": (*WAN, *LONG, "output.structure=false"),
    "frames, one expert": ("experts=wan", "scheduler=temporal_alone", *LONG),
    "frames, given": (*WAN, GIVEN, "num_frames=7"),
    "frames, given, long": (*WAN, GIVEN, *CUT),
    "coordinated": (*SD_WAN, "num_frames=13"),
    "coordinated, replace": (*SD_WAN, "num_frames=13", REPLACE),
    "coordinated, long": (*SD_WAN, *LONG),
    "temporal first": (*TEMPORAL_FIRST, "num_frames=15"),
    "temporal first, long": (*TEMPORAL_FIRST, *LONG),
    "temporal first, replace": (*TEMPORAL_FIRST, "num_frames=5", REPLACE),
    "temporal first, given": (*TEMPORAL_FIRST, GIVEN, "num_frames=15"),
    "temporal first, given, long": (*TEMPORAL_FIRST, GIVEN, *CUT),
    "remembering": (*REMEMBERING, "num_frames=5"),
    "forgetting": (*FORGETTING, "num_frames=5"),
}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return filmed(tmp_path_factory.mktemp("given") / "in.mp4", seconds=5)


def job_of(video, *words: str) -> Job:
    return resolve(settings_of_words([*SMALL, *(word.format(video=video) for word in words)]))


@dataclass(frozen=True)
class Toy:
    """In the place of a VAE's or an expert's network: it is always there, and says nothing."""

    schedule: object = None
    prediction_type: str = ""
    device = torch.device("cpu")

    def condition(self, *_):
        return Networked(self.schedule, self.prediction_type, network=lambda x, t: x.tanh())


@dataclass(frozen=True)
class CountingDecoder(Decoder):
    """Grey frames, as many at a time as a VAE makes."""

    space: str = field(kw_only=True)
    counts: Counter = field(kw_only=True)

    def _decoded(self, latents: Tensor) -> Iterator[Pixels]:
        sizes = [1] + [self.time_factor] * (latents.shape[2] - 1)
        if self.time_factor == 1:
            sizes = map(len, alike(latents[0, 0], self.batch, dim=0))
        for size in sizes:
            self.counts["decode", self.space] += size
            numbers = torch.zeros(size, 3, SIDE, SIDE)
            yield Pixels(numbers, torch.tensor(True), refuse_frames)


@dataclass(frozen=True)
class CountingEncoder(Encoder):
    """Empty latents of frames that are whole ones."""

    space: str = field(kw_only=True)
    counts: Counter = field(kw_only=True)

    def _encoded(self, parts: Iterable[Tensor]) -> Tensor:
        count = sum(map(len, parts))
        assert (count - 1) % self.time_factor == 0
        self.counts["encode", self.space] += count
        latents = 1 + (count - 1) // self.time_factor
        return torch.zeros(1, self.channels, latents, SIDE // self.factor, SIDE // self.factor)


@pytest.fixture
def counts(monkeypatch):
    """What the VAEs of pipelines that are loaded are asked for: frames by direction and space."""
    found: Counter = Counter()

    def coder(kind, spec, space):
        own = spec.space
        shape = {"factor": own.factor, "channels": own.channels, "time_factor": own.time_factor}
        return kind(Toy(), batch=8, **shape, space=space, counts=found)

    def coded_space(role, spec, *_):
        name = spec.latent_space
        kinds = (CountingDecoder, CountingEncoder)
        return CodedSpace(spec.space, *(coder(kind, spec, name) for kind in kinds))

    def load_preview(role, spec, *_):
        return coder(CountingDecoder, spec, "preview" if spec.preview else spec.latent_space)

    toys = {
        "load_expert": lambda role, spec, *_: Toy(spec.schedule, spec.prediction_type),
        "coded_space": coded_space,
        "load_preview": load_preview,
        "check_memory": lambda *_: (),
        "advice": lambda *_: (),
        "weights_of": lambda *_: {},
    }
    for name, toy in toys.items():
        monkeypatch.setattr(loaded_pipeline, name, toy)
    return found


def run(job: Job) -> None:
    """Make a job's videos, and let go of them."""
    loaded, store = load_pipeline([job], NetworkCache()), MemoryStore()
    joining = loaded.joining(loaded.decoder.parts)
    show = loaded.draft_decoder.parts
    perform = Performer(loaded.pipeline, lambda task: Meter().watch, joining, show)
    graph = graph_of(loaded.pipeline, joining, bool(job.settings.output.structure))
    for goal in execute(graph.goals(), graph, store, perform):
        for frames in store.get(goal):
            assert len(list(chain.from_iterable(frames))) > 0


def planned(job: Job) -> Counter:
    """The same, by the plan's rows."""
    found: Counter = Counter()
    for row in rows(job):
        first, *rest = row.role.split()
        if row.stage == "bridge":
            found[{"from": "decode", "to": "encode"}[first], *rest] += row.evaluations
        elif row.role == "preview":
            found[row.stage, row.role] += row.evaluations
        elif first == "vae":
            space = rest or [job.experts[job.draft_role].latent_space]
            found[row.stage, *space] += row.evaluations
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_plan_counts_the_frames_that_a_run_then_codes(case, counts, video):
    job = job_of(video, *CASES[case])
    run(job)
    assert planned(job) == counts


def test_every_piece_that_is_coded_begins_with_a_frame_of_its_own():
    job = job_of(None, *WAN, *LONG)
    (encoding,) = [row for row in rows(job) if row.stage == "encode"]
    windows = [len(job.timeline.refines(n)) for n in range(int(job.timeline.window_count))]
    cost = costs()["wan21_vae_encoder"]
    assert encoding.flops == sum(cost.flops(length, SIDE, SIDE) for length in windows)
    assert encoding.flops != pytest.approx(cost.flops(sum(windows), SIDE, SIDE), rel=0.01)


def test_the_bridge_is_told_by_direction_and_space_in_columns():
    lines = confiner("plan", *SMALL, *SD_WAN, "num_frames=13").out.splitlines()
    end = lines.index("", lines.index("") + 1)
    table = lines[lines.index("") + 1 : end]
    assert len({len(line) for line in table}) == 1
    bridge = [line.removeprefix("bridge").split()[:2] for line in table if line[:6] == "bridge"]
    sides = (("from", "stable_diffusion"), ("to", "wan21"), ("from", "wan21"))
    assert bridge == [*map(list, sides), ["to", "stable_diffusion"]]
    (decoding,) = [line for line in table if line.startswith("decode")]
    assert decoding.split()[1:4] == ["vae", "stable_diffusion", "26"]


def test_within_one_space_columns_are_narrow_and_there_is_one_vae():
    lines = confiner("plan", *SMALL).out.splitlines()
    assert lines[2] == "stage       expert     evaluations  passes     TFLOP"
    assert "decode      vae                 32      32    0.0281" in lines

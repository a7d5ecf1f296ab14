"""The method with toy experts: pipelines of a few small latents, and all that they make."""

from dataclasses import replace

import torch
from support.toy_experts import Networked

from confiner_cli.method.long.timeline import Timeline, count_up
from confiner_cli.method.options import LongVideoOptions, RefinementOptions, StructureOptions
from confiner_cli.method.pipeline import Pipeline
from confiner_cli.method.schedule import linear, scaled_linear
from confiner_cli.runs.executor import execute
from confiner_cli.runs.joining import InLatents
from confiner_cli.runs.memory_store import MemoryStore
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.perform import Performer, graph_of
from confiner_cli.runs.tasks import Kind, Task

SCHEDULES = {"control": linear(0.00085, 0.012), "spatial": scaled_linear(), "temporal": linear()}


def toy_experts():
    """One expert a role, each with a schedule of its own, the temporal one with other opinions."""
    experts = {role: Networked(own, "v_prediction") for role, own in SCHEDULES.items()}
    experts["temporal"] = replace(experts["temporal"], network=lambda x, t: torch.sin(x))
    return experts


def pipeline_of(
    structure=None,
    refinement=None,
    long_video=None,
    seeds=(7,),
    num_frames=3,
    segment_frames=16,
    overlap=0,
    **denoisers,
):
    """A pipeline of toy experts; the paper's nine steps unless told."""
    experts = toy_experts() | denoisers
    return Pipeline(
        denoisers={role: {0: denoiser} for role, denoiser in experts.items()},
        structure=structure or StructureOptions(),
        refinement=refinement or RefinementOptions(),
        timeline=Timeline(num_frames, segment_frames, overlap),
        size=(64, 64),
        seeds=seeds,
        long_video=long_video or LongVideoOptions(),
    )


def as_they_are(latents):
    """Latents in the place of frames."""
    return [latents]


def plain(stage, steps, total):
    """A watch that looks away."""
    return steps


def structures(pipeline, watch=plain):
    """Its structures, one after another, as a run makes them."""
    store, graph = MemoryStore(), graph_of(pipeline, joined(pipeline))
    tasks = (Task(Kind.STRUCTURE, n) for n in count_up(pipeline.timeline.structure_count))
    for task in execute(tasks, graph, store, performer(pipeline, watch)):
        yield store.results[task]


def refined(pipeline, watch=plain, drafts=()):
    """The latents of its video, window after window; of these structures where there are some."""
    store, graph = MemoryStore(), graph_of(pipeline, joined(pipeline))
    for structure in drafts:
        store.put(Task(Kind.STRUCTURE, structure.number), structure)
    chunks = (goal for goal in graph.goals() if goal.kind is Kind.CHUNK)
    for task in execute(chunks, graph, store, performer(pipeline, watch)):
        yield torch.cat([frames[0] for frames in store.results.pop(task)])


def performer(pipeline, watch):
    """Does tasks, with latents in the place of frames."""
    return Performer(pipeline, lambda task: watch, joined(pipeline), show=as_they_are)


def joined(pipeline, decode=as_they_are):
    """Its structures and windows joined as a run joins them."""
    return InLatents(pipeline.timeline, decode)


def latents(pipeline, meter=None):
    """All of the refined video."""
    meter = meter or Meter()
    return torch.cat(list(refined(pipeline, meter.watch)), dim=2)

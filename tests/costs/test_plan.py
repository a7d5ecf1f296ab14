"""A plan says what a run then does: the same visits and passes, before anything is loaded."""

from __future__ import annotations

import functools
import random
import re
from collections import Counter
from dataclasses import replace

import pytest
from support.command_line import confiner
from support.toy_experts import Networked

from confiner_cli.config.job import Job
from confiner_cli.config.overrides import parse_overrides
from confiner_cli.config.resolve import resolve
from confiner_cli.config.schema import ROLES, ExpertSetSettings, Settings
from confiner_cli.costs.compiling import compiling
from confiner_cli.costs.estimate import rows
from confiner_cli.method.guidance import Guided
from confiner_cli.method.pipeline import Pipeline
from confiner_cli.method.refinement import PATTERNS
from confiner_cli.runs.executor import execute
from confiner_cli.runs.joining import InLatents
from confiner_cli.runs.memory_store import MemoryStore
from confiner_cli.runs.meter import Meter
from confiner_cli.runs.perform import Performer, graph_of
from confiner_cli.runs.provenance import settings_of, settings_of_words
from confiner_cli.runs.tasks import LATENTS

SMALL = ("prompt=a red heart", "seed=1")
RANDOM_JOBS = 200


def job_of(*words: str):
    return resolve(settings_of_words([*SMALL, *words]))


def toy_pipeline(job) -> Pipeline:
    """The run's own pipeline, with toys in the place of the networks."""
    denoisers = {}
    for role in job.asked:
        plain = Networked(job.experts[role].schedule, "v_prediction")
        guidance = job.guidance[role]
        guided = plain if guidance.scale == 1 else Guided(plain, plain, guidance)
        denoisers[role] = dict.fromkeys(job.prompts, guided)
    return Pipeline(
        denoisers=denoisers,
        structure=job.structure,
        refinement=job.refinement,
        timeline=job.timeline,
        size=(8, 8),
        seeds=(job.seed,),
        long_video=job.long_video,
    )


def counted(job) -> Meter:
    """What a run of the job does."""
    pipeline, meter = toy_pipeline(job), Meter()
    joining = InLatents(pipeline.timeline, lambda latents: [])
    perform = Performer(pipeline, lambda task: meter.watch, joining, lambda latents: [])
    graph = graph_of(pipeline, joining)
    for _ in execute(graph.goals(), graph, MemoryStore(keep=LATENTS), perform):
        pass
    return meter


@functools.cache
def chosen(experts: str, scheduler: str, long_video: str) -> Settings:
    words = [f"experts={experts}", f"scheduler={scheduler}", f"long_video={long_video}"]
    return settings_of_words([*SMALL, *words])


def random_settings(draw: random.Random) -> Settings:
    """Draw random settings; guidance often begins or ends exactly at a level that is visited."""
    num_frames = draw.choice([1, 7, 16, 17, 40])
    settings = chosen(
        draw.choice(["tiny", "lavie_sd", "modelscope_sd"]),
        draw.choice(["confiner_9", "confiner_18", "steady"]),
        "confiner_long" if num_frames > 16 else draw.choice(["none", "confiner_long"]),
    )
    long_video = replace(
        settings.long_video,
        coherence=draw.choice([0, 0.1]),
        staggered=draw.random() < 0.5,
    )
    settings = replace(settings, num_frames=num_frames, height=64, width=64, long_video=long_video)
    if num_frames > 8 and draw.random() < 0.3:
        settings = replace(settings, prompts={5: "a blue star"})
    settings = replace(settings, experts=guided_at_random(settings.experts, draw))
    steps = draw.randint(1, 5)
    refinement = replace(
        settings.scheduler.refinement,
        num_inference_steps=steps,
        te=draw.choice([steps * 20, draw.randint(steps, 900)]),
        pattern=draw.choices(list(PATTERNS), k=steps),
        timestep_matching=draw.choice(["same", "snr"]),
    )
    scheduler = replace(settings.scheduler, refinement=refinement)
    settings = replace(settings, scheduler=scheduler)
    interval = sorted(draw.choices(visited_levels(resolve(settings)), k=2))
    return replace(settings, scheduler=replace(scheduler, guidance_interval=interval))


def guided_at_random(experts: ExpertSetSettings, draw: random.Random) -> ExpertSetSettings:
    scales = {role: draw.choice([1.0, 2.0, 7.5]) for role in ROLES}
    roles = {
        role: replace(experts.role(role), guidance_scale=scale) for role, scale in scales.items()
    }
    return replace(experts, **roles)


def visited_levels(job: Job) -> list[float]:
    """Noise levels at which a job's experts are asked, and three that may be none of these."""
    schedules = [job.experts[role].schedule for role in job.asked]
    steps = job.refinement.num_inference_steps
    uniform = [round(job.refinement.te * (steps - i) / steps) for i in range(steps)]
    levels = [schedule.level(t).noise for schedule in schedules for t in uniform]
    return [0.0, 0.3, 1.0, *levels]


@pytest.mark.parametrize("seed", range(RANDOM_JOBS))
def test_a_plan_counts_what_the_run_then_counts(seed):
    job = resolve(random_settings(random.Random(seed)))
    meter = counted(job)
    for name in ("evaluations", "passes"):
        planned = Counter()
        for row in rows(job):
            if row.role != "vae":
                planned[row.role] += getattr(row, name)
        assert planned == getattr(meter, name)


def test_a_plan_needs_no_prompt_and_takes_those_that_come_later():
    ending = confiner("plan", "prompts={5: a blue star}")
    assert ending.code == 0, ending.err
    alone = confiner("plan").out
    assert alone and ending.out != alone, "a window with two prompts is passed twice"


def test_the_papers_presets_cost_what_the_published_networks_cost():
    by_role = {row.role: row.flops for row in rows(job_of("experts=lavie_sd", "num_frames=16"))}
    assert by_role["control"] == pytest.approx(4 * 10651.7e9, rel=0.01)
    assert by_role["spatial"] == pytest.approx(20 * 7591.4e9, rel=0.01)
    assert by_role["temporal"] == pytest.approx(10 * 8109.7e9, rel=0.01)


def test_the_command_prints_stages_memory_and_files_and_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    ending = confiner("plan", "experts=modelscope_sd", "height=512", "width=512")
    assert ending.code == 0, ending.err
    assert "modelscope_sd, confiner_9: 16 frames, 512x512 pixels" in ending.out
    for words in (
        "refinement  spatial",
        "in all",
        "high ",
        "CC-BY-NC-4.0",
        "ali-vilab/text-to-video-ms-1.7b",
    ):
        assert words in ending.out
    assert not any(tmp_path.iterdir())


def test_a_plan_says_from_how_many_videos_on_compiling_pays():
    assert compiling(job_of()) is None and "compile" not in confiner("plan").out
    whole, blocks = compiling(job_of("compile=true")), compiling(job_of("compile=regional"))
    assert whole.first > whole.later and whole.saved > 0 and whole.first > blocks.first
    longer = compiling(job_of("compile=true", "scheduler=confiner_18"))
    assert longer.pays_from(longer.first) < whole.pays_from(whole.first)
    count = whole.pays_from(whole.first)
    assert (count - 1) * whole.saved < whole.first <= count * whole.saved
    ending = confiner("plan", "compile=true")
    assert f"pays from {count:.0f} videos on" in ending.out
    for words in (("experts.temporal.architecture=null",), ("experts=modelscope_sd",)):
        unknown = confiner("plan", "compile=true", *words)
        assert "is known of the embedded experts alone" in unknown.out


@pytest.mark.parametrize("value", ["yes", "Regional", "null"])
def test_another_way_to_compile_is_refused(value):
    ending = confiner("plan", f"compile={value}")
    assert ending.code == 2 and "compile" in ending.err and "hint: " in ending.err


def test_a_plan_says_at_which_timestep_and_which_share_of_noise_each_expert_is_asked():
    lines = confiner("plan", "scheduler.refinement.timestep_matching=snr").out.splitlines()
    (told,) = [line for line in lines if line.startswith("refinement  temporal 1")]
    asked = re.findall(r"(\w+) ([\d.]+)/([\d.]+)", told)
    assert [role for role, _, _ in asked] == ["temporal", "spatial"] * 2
    for (_, _, temporal), (_, _, spatial) in zip(asked[::2], asked[1::2], strict=True):
        assert float(temporal) == pytest.approx(float(spatial), abs=2e-3)
    assert asked[2][1] != asked[3][1], "the same noise is at two timesteps of two schedules"
    whole = confiner("plan", "scheduler=confiner_9").out
    assert len(re.findall(r"spatial \d+/", whole)) == 10


def test_a_strength_is_the_te_with_so_much_noise_on_the_spatial_schedule():
    asked, paper = job_of("strength=0.256"), job_of("scheduler.refinement.te=100")
    assert asked.refinement.te == pytest.approx(100, abs=0.5)
    assert asked.refinement_visits == paper.refinement_visits
    strong = job_of("strength=0.5").refinement.te
    schedule = asked.experts["spatial"].schedule
    assert schedule.level(strong).sigma == pytest.approx(0.5)
    assert job_of("strength=null").refinement == paper.refinement


def test_a_te_that_is_said_later_holds_over_a_strength():
    earlier = parse_overrides(["strength=0.5"], multirun=False)
    later = parse_overrides(["scheduler.refinement.te=150"], multirun=False)
    both = replace(earlier, words=(*earlier.words, *later.words))
    assert resolve(settings_of(both)).refinement.te == 150
    turned = replace(earlier, words=(*later.words, *earlier.words))
    assert resolve(settings_of(turned)).refinement == job_of("strength=0.5").refinement


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("strength=0",), "out of range"),
        (("strength=1",), "out of range"),
        (("strength=nan",), "out of range"),
        (("strength=0.3", "scheduler.refinement.te=100"), "two beginnings"),
        (("strength=0.3", "scheduler=temporal_alone"), "no refinement"),
    ],
)
def test_a_strength_that_cannot_be_is_refused(words, said):
    ending = confiner("plan", *words)
    assert ending.code == 2 and said in ending.err and "hint: " in ending.err


def test_a_plan_refuses_what_a_run_refuses():
    ending = confiner("plan", "num_frames=17")
    assert ending.code == 2 and "num_frames=17 is more than tiny takes" in ending.err


def test_an_unknown_network_leaves_its_operations_open():
    assert [
        row.flops
        for row in rows(job_of("experts.temporal.architecture=null"))
        if row.role == "temporal"
    ] == [None]
    assert "unknown" in confiner("plan", "experts.temporal.architecture=null").out

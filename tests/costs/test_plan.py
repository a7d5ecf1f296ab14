"""A plan says what a run then does: the same visits and passes, from tables, before anything is loaded."""

from __future__ import annotations

import pytest
from support.command_line import confiner

from confiner_cli.config.hydra import compose, settings_of
from confiner_cli.config.resolve import resolved
from confiner_cli.costs.estimate import Levels, rows
from confiner_cli.costs.table import costs
from confiner_cli.method.pipeline import refined, structures
from confiner_cli.method.schedule import BETA_SCHEDULES
from confiner_cli.runs.loading import prepare
from confiner_cli.runs.meter import Meter

SMALL = ("num_frames=1", "prompt=a red heart", "seed=1")


def settings(*overrides: str):
    return resolved(settings_of(compose([*SMALL, *overrides])))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("scheduler=confiner_9",),
        ("scheduler=confiner_18",),
        ("scheduler=temporal_alone", "scheduler.structure.num_inference_steps=5"),
        ("scheduler.guidance_interval=[0.3,1.0]", "experts.control.guidance_scale=2"),
        ("scheduler.refinement.pattern=interleaved", "scheduler.refinement.te=200"),
        (
            "scheduler=confiner_9",
            "scheduler.refinement.pattern=[coordinated,standard,two_visits,naive,temporal_first]",
        ),
        ("scheduler.refinement.timestep_matching=snr", "scheduler.guidance_interval=[0.25,0.4]"),
    ],
    ids=" ".join,
)
def test_a_plan_counts_what_the_run_then_counts(overrides):
    chosen, meter = settings(*overrides), Meter()

    def watch(stage, steps, total):
        return meter.watch(stage, steps)

    production = prepare(chosen)
    list(refined(production.plan, structures(production.plan, watch), watch))
    planned = [row for row in rows(chosen) if row.role != "vae"]
    for counted, name in ((meter.evaluations, "evaluations"), (meter.passes, "passes")):
        sums = {
            role: sum(getattr(row, name) for row in planned if row.role == role) for role in counted
        }
        assert sums == dict(counted)
    assert {row.role for row in planned} == set(meter.evaluations)


@pytest.mark.parametrize("role", ["control", "spatial", "temporal"])
def test_levels_without_tensors_are_the_schedules(role):
    expert = settings("experts=lavie_sd").experts.role(role)
    exact = BETA_SCHEDULES[expert.beta_schedule](expert.beta_start, expert.beta_end)
    plain = Levels.of(expert)
    assert len(plain) == len(exact)
    for t in (0, 20, 100, 500, 999):
        assert plain.level(t) == pytest.approx(exact.level(t), abs=2e-6)
        assert abs(plain.matching(exact.level(t)) - t) <= 1


def test_a_preset_costs_its_passes_of_the_networks_that_it_names_at_the_size_of_the_video():
    by_role = {row.role: row.flops for row in rows(settings("experts=lavie_sd", "num_frames=16"))}
    passes = {"control": (4, "animatediff"), "spatial": (20, "sd15"), "temporal": (10, "lavie")}
    for role, (times, network) in passes.items():
        assert by_role[role] == pytest.approx(times * costs()[network].flops(16, 320, 512))


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


def test_a_plan_refuses_what_a_run_refuses():
    ending = confiner("plan", "num_frames=17")
    assert ending.code == 2 and "num_frames=17 is more than tiny takes" in ending.err


def test_an_unknown_network_leaves_its_operations_open():
    assert [
        row.flops
        for row in rows(settings("experts.temporal.architecture=null"))
        if row.role == "temporal"
    ] == [None]
    assert "unknown" in confiner("plan", "experts.temporal.architecture=null").out

import pytest
from support.toy_experts import Networked

from confiner_cli.method.flow import Flow
from confiner_cli.method.options import RefinementOptions
from confiner_cli.method.refinement import (
    ASKS,
    PATTERNS,
    SINGLE_EXPERT,
    refinement_visits,
    timesteps,
)
from confiner_cli.method.schedule import linear, scaled_linear

SPATIAL, TEMPORAL = Networked(scaled_linear()), Networked(linear())
TE_100 = [100, 80, 60, 40, 20]


def visits_of(*patterns, te=100, **options):
    """The visits of five steps of one pattern, or of one step of each."""
    names = patterns * 5 if len(patterns) == 1 else patterns
    return refinement_visits(RefinementOptions(names, te, **options), SPATIAL, TEMPORAL)


def listed(visits):
    return [(visit.role[0].upper(), visit.t, visit.eta) for visit in visits]


def each_step(*visits):
    """The same visits, each `(role, eta)`, at every timestep."""
    return [(role, t, eta) for t in TE_100 for role, eta in visits]


def in_turns(roles):
    """One visit a step, without fresh noise."""
    return [(role, t, 0.0) for role, t in zip(roles, TE_100, strict=True)]


EXPECTED = {
    "coordinated": each_step(("S", 0.0), ("T", 1.0), ("S", 1.0)),
    "standard": in_turns("SSSSS"),
    "spatial_only": in_turns("SSSSS"),
    "temporal_only": in_turns("TTTTT"),
    "self_refine": each_step(("T", 0.0), ("T", 1.0)),
    "naive": in_turns("STSTS"),
    "two_visits": each_step(("S", 0.0), ("T", 1.0)),
    "temporal_first": each_step(("T", 1.0), ("S", 1.0)),
    "averaged": each_step(("S", 0.0), ("T", 0.0)),
    "slow_from_temporal": each_step(("S", 0.0), ("T", 0.0)),
    "slow_from_spatial": each_step(("S", 0.0), ("T", 0.0)),
    "interleaved": in_turns("TSTST"),
}


def test_timesteps_are_uniform_from_te():
    assert timesteps(scaled_linear(), 100, 5) == TE_100
    assert timesteps(scaled_linear(), 100, 10) == [100, 90, 80, 70, 60, 50, 40, 30, 20, 10]
    assert timesteps(scaled_linear(), 50, 4) == [50, 38, 25, 12]
    assert timesteps(scaled_linear(), 7, 1) == [7]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_its_list_of_visits(pattern):
    assert listed(visits_of(pattern)) == EXPECTED[pattern]


@pytest.mark.parametrize("renoise", [0.0, 0.3])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_renoising_is_the_eta_of_every_hand_over_and_of_nothing_else(pattern, renoise):
    found = listed(visits_of(pattern, renoise=renoise))
    assert found == [(role, t, renoise if eta else 0.0) for role, t, eta in EXPECTED[pattern]]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_only_naive_reads_the_temporal_expert_on_the_spatial_schedule(pattern):
    for visit in visits_of(pattern):
        own = {"spatial": SPATIAL, "temporal": TEMPORAL}[visit.role].schedule
        assert visit.denoiser.schedule is (SPATIAL.schedule if pattern == "naive" else own)


@pytest.mark.parametrize("pattern", sorted(set(PATTERNS) - {"naive"}))
def test_matching_the_noise_ratio_changes_the_temporal_timesteps_and_nothing_else(pattern):
    same = visits_of(pattern)
    matched = visits_of(pattern, timestep_matching="snr")
    for one, other in zip(same, matched, strict=True):
        assert (one.role, one.eta) == (other.role, other.eta)
        if one.role == "spatial":
            assert one.t == other.t
        else:
            wanted, found = SPATIAL.schedule.level(one.t), other.level
            assert found.noise / found.signal == pytest.approx(
                wanted.noise / wanted.signal, rel=0.02
            )
    if "temporal" in {visit.role for visit in same}:
        assert listed(same) != listed(matched)


def test_each_step_can_have_a_pattern_of_its_own():
    found = listed(visits_of("coordinated", "standard", "coordinated", te=90))
    assert found == [
        ("S", 90, 0.0), ("T", 90, 1.0), ("S", 90, 1.0),
        ("S", 60, 0.0),
        ("S", 30, 0.0), ("T", 30, 1.0), ("S", 30, 1.0),
    ]  # fmt: skip


def test_no_steps_are_no_visits():
    assert refinement_visits(RefinementOptions(patterns=()), SPATIAL, TEMPORAL) == []


def test_it_is_known_which_patterns_ask_one_expert_alone():
    asked = {name: tuple({visit.role for visit in visits_of(name)}) for name in PATTERNS}
    assert {name: roles for name, roles in asked.items() if len(roles) == 1} == ASKS


def test_a_solver_may_remember_steps_of_one_expert_that_no_fresh_noise_comes_between():
    fresh = {name for name in ASKS if any(visit.eta for visit in visits_of(name))}
    assert set(SINGLE_EXPERT) == set(ASKS) - fresh


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_self_refinement_asks_again_at_the_same_level_after_fresh_noise(repeats):
    found = listed(visits_of("self_refine", repeats=repeats))
    assert found == each_step(("T", 0.0), *[("T", 1.0)] * (repeats - 1))


@pytest.mark.parametrize("pattern", ["temporal_only", "self_refine"])
def test_a_temporal_expert_alone_counts_the_steps_on_its_own_schedule(pattern):
    flow = Networked(Flow(8.0), "flow_prediction")
    visits = refinement_visits(RefinementOptions((pattern,) * 3, 256), None, flow)
    assert list(dict.fromkeys(visit.t for visit in visits)) == pytest.approx(
        [256, 512 / 3, 256 / 3]
    )

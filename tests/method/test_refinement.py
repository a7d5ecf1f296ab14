import pytest
from support.toy_experts import Networked

from confiner_cli.method.refinement import PATTERNS, Pair, timesteps, visits
from confiner_cli.method.schedule import linear, scaled_linear

SPATIAL, TEMPORAL = Networked(scaled_linear()), Networked(linear())
FRESH = Pair(SPATIAL, TEMPORAL)
TE_100 = [100, 80, 60, 40, 20]


def listed(visits):
    return [(visit.role[0].upper(), visit.t, visit.eta) for visit in visits]


EXPECTED = {
    "coordinated": [visit for t in TE_100 for visit in (("S", t, 0.0), ("T", t, 1.0), ("S", t, 1.0))],
    "standard": [("S", t, 0.0) for t in TE_100],
    "spatial_only": [("S", t, 0.0) for t in TE_100],
    "temporal_only": [("T", t, 0.0) for t in TE_100],
    "naive": [("S", 100, 0.0), ("T", 80, 0.0), ("S", 60, 0.0), ("T", 40, 0.0), ("S", 20, 0.0)],
    "two_visits": [visit for t in TE_100 for visit in (("S", t, 0.0), ("T", t, 1.0))],
    "temporal_first": [visit for t in TE_100 for visit in (("T", t, 1.0), ("S", t, 1.0))],
    **{
        name: [visit for t in TE_100 for visit in (("S", t, 0.0), ("T", t, 0.0))]
        for name in ("averaged", "slow_from_temporal", "slow_from_spatial")
    },
    "interleaved": [("T", 100, 0.0), ("S", 80, 0.0), ("T", 60, 0.0), ("S", 40, 0.0), ("T", 20, 0.0)],
}  # fmt: skip


def test_timesteps_are_uniform_from_te():
    assert timesteps(100, 5) == TE_100
    assert timesteps(100, 10) == [100, 90, 80, 70, 60, 50, 40, 30, 20, 10]
    assert timesteps(50, 4) == [50, 38, 25, 12]
    assert timesteps(7, 1) == [7]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_its_list_of_visits(pattern):
    assert listed(visits(FRESH, 100, [pattern] * 5)) == EXPECTED[pattern]


def test_coordinated_denoising_costs_ten_spatial_and_five_temporal_evaluations_in_five_steps():
    roles = [visit.role for visit in visits(FRESH, 100, ["coordinated"] * 5)]
    assert (len(roles), roles.count("spatial"), roles.count("temporal")) == (15, 10, 5)


@pytest.mark.parametrize("steps", [1, 2, 5, 6])
def test_the_temporal_expert_is_the_last_of_the_interleaved(steps):
    assert visits(FRESH, 100, ["interleaved"] * steps)[-1].role == "temporal"


@pytest.mark.parametrize("hop_noise", [0.0, 0.3])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_hop_noise_is_the_eta_of_every_hop_and_of_nothing_else(pattern, hop_noise):
    found = listed(visits(Pair(SPATIAL, TEMPORAL, hop_noise), 100, [pattern] * 5))
    assert found == [(role, t, hop_noise if eta else 0.0) for role, t, eta in EXPECTED[pattern]]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_only_naive_reads_the_temporal_expert_on_the_spatial_schedule(pattern):
    for visit in visits(FRESH, 100, [pattern] * 5):
        own = {"spatial": SPATIAL, "temporal": TEMPORAL}[visit.role].schedule
        assert visit.denoiser.schedule is (SPATIAL.schedule if pattern == "naive" else own)


@pytest.mark.parametrize("pattern", sorted(set(PATTERNS) - {"naive"}))
def test_matching_the_noise_ratio_changes_the_temporal_timesteps_and_nothing_else(pattern):
    same = visits(FRESH, 100, [pattern] * 5)
    matched = visits(Pair(SPATIAL, TEMPORAL, match_snr=True), 100, [pattern] * 5)
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
    found = listed(visits(FRESH, 90, ["coordinated", "standard", "coordinated"]))
    assert found == [
        ("S", 90, 0.0), ("T", 90, 1.0), ("S", 90, 1.0),
        ("S", 60, 0.0),
        ("S", 30, 0.0), ("T", 30, 1.0), ("S", 30, 1.0),
    ]  # fmt: skip

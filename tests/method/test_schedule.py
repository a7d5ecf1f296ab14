import math
import pickle
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from diffusers import DDIMScheduler, EulerDiscreteScheduler

from confiner_cli.method.schedule import (
    BETA_SCHEDULES,
    CLEAN,
    Discrete,
    Level,
    flow_level,
    from_betas,
    linear,
    scaled_linear,
)

STABLE_DIFFUSION = scaled_linear()
LAVIE = linear()
ANIMATEDIFF = linear(0.00085, 0.012)
ENDS_PURE = from_betas([0.01, 0.02, 0.3, 1.0])
BEGINS_CLEAN = Discrete((1.0, 0.9, 0.5))
SCHEDULES = {
    "stable_diffusion": STABLE_DIFFUSION,
    "lavie": LAVIE,
    "animatediff": ANIMATEDIFF,
    "short": scaled_linear(0.001, 0.01, 50),
    "ends_pure": ENDS_PURE,
    "begins_clean": BEGINS_CLEAN,
}
ALL = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
WITHOUT_TORCH = """
import sys
from confiner_cli.method import blending, estimate, options, refinement, schedule, solvers
from confiner_cli.method import structure, walk
from confiner_cli.method.long import timeline
sys.exit("torch" in sys.modules)
"""


def test_a_share_of_noise_is_what_levels_of_all_schedules_have_in_common():
    """The numbers that image-to-image tools call denoise or strength."""
    assert STABLE_DIFFUSION.level(100).sigma == pytest.approx(0.256, abs=5e-4)
    assert LAVIE.level(100).sigma == pytest.approx(0.255, abs=5e-4)
    assert CLEAN.sigma == 0 and Level(0.0, 1.0).sigma == 1
    for t in (1, 99.5, 500, 998):
        level = STABLE_DIFFUSION.level(t)
        assert flow_level(level.sigma).log_ratio == pytest.approx(level.log_ratio)
        assert STABLE_DIFFUSION.t(flow_level(level.sigma)) == pytest.approx(t, abs=1e-6)


def in_between(schedule):
    """Timesteps of all kinds: the table's own, beside them, in the middle, near the ends."""
    last = schedule.num_train_timesteps - 1
    whole = sorted({0, 1, last // 3, last // 2, last - 1})
    return [t + share for t in whole for share in (0, 1e-6, 0.1, 0.5, 0.999)] + [last]


@pytest.mark.parametrize(
    ("schedule", "name", "betas"),
    [
        (STABLE_DIFFUSION, "scaled_linear", (0.00085, 0.012)),
        (LAVIE, "linear", (0.0001, 0.02)),
        (ANIMATEDIFF, "linear", (0.00085, 0.012)),
        (scaled_linear(0.001, 0.01, 50), "scaled_linear", (0.001, 0.01)),
    ],
    ids=["stable_diffusion", "lavie", "animatediff", "short"],
)
def test_tables_are_diffusers(schedule, name, betas):
    theirs = DDIMScheduler(
        num_train_timesteps=schedule.num_train_timesteps,
        beta_schedule=name,
        beta_start=betas[0],
        beta_end=betas[1],
    ).alphas_cumprod.tolist()
    ours = [schedule.level(t) for t in range(schedule.num_train_timesteps)]
    assert [level.signal**2 for level in ours] == pytest.approx(theirs, rel=5e-6, abs=1e-6)
    assert [level.signal**2 + level.noise**2 for level in ours] == pytest.approx([1] * len(ours))


@pytest.mark.parametrize("t", [0.25, 100.5, 500.9, 998.5])
def test_between_timesteps_levels_are_those_that_diffusers_finds_its_karras_timesteps_by(t):
    euler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    )
    abar = euler.alphas_cumprod.double()
    log_sigmas = ((1 - abar) / abar).sqrt().log().numpy()
    level = STABLE_DIFFUSION.level(t)
    theirs = euler._sigma_to_t(np.array(level.noise / level.signal), log_sigmas)
    assert float(theirs) == pytest.approx(t, abs=1e-3)  # their table is float32


@pytest.mark.parametrize(
    ("schedule", "at_500", "at_100"),
    [(STABLE_DIFFUSION, 0.276, 0.894), (LAVIE, 0.078, 0.895), (ANIMATEDIFF, 0.161, 0.867)],
    ids=["stable_diffusion", "lavie", "animatediff"],
)
def test_the_same_timestep_is_another_noise_level_on_another_schedule(schedule, at_500, at_100):
    abar = [schedule.level(t).signal ** 2 for t in (500, 100)]
    assert [round(value, 3) for value in abar] == [at_500, at_100]


@ALL
def test_timesteps_and_levels_are_inverse_to_each_other(schedule):
    for t in in_between(schedule):
        assert schedule.t(schedule.level(t)) == pytest.approx(t, abs=1e-9)


@ALL
def test_a_later_timestep_has_more_noise_and_less_signal(schedule):
    for one, later in pairwise(schedule.level(t) for t in in_between(schedule)):
        assert one.noise < later.noise and one.signal > later.signal
        assert math.hypot(*one) == pytest.approx(1)


def test_a_level_is_found_by_its_ratio_whatever_its_scale():
    """Rectified flow's levels, `signal + noise = 1`, are as good as variance-preserving ones."""
    signal, noise = STABLE_DIFFUSION.level(321.5)
    flow = Level(signal / (signal + noise), noise / (signal + noise))
    assert STABLE_DIFFUSION.t(flow) == pytest.approx(321.5, abs=1e-9)


def test_a_schedule_may_end_in_pure_noise_and_begin_clean():
    assert ENDS_PURE.level(3) == (0, 1) and ENDS_PURE.t(Level(0, 1)) == 3
    assert BEGINS_CLEAN.level(0) == CLEAN and BEGINS_CLEAN.t(CLEAN) == 0
    assert ENDS_PURE.matching(Level(0, 1)) == 3 and BEGINS_CLEAN.matching(CLEAN) == 0


@pytest.mark.parametrize(
    "source", [STABLE_DIFFUSION, ANIMATEDIFF], ids=["stable_diffusion", "animatediff"]
)
@pytest.mark.parametrize("t", [0, 20, 100, 500, 999])
def test_matching_finds_the_timestep_with_the_nearest_noise_to_signal_ratio(source, t):
    level = source.level(t)

    def distance(other):
        return abs(LAVIE.level(other).log_ratio - level.log_ratio)

    assert distance(LAVIE.matching(level)) == min(map(distance, range(1000)))
    assert source.matching(level) == t


def test_beyond_a_schedule_the_nearest_timestep_is_its_end_and_there_is_no_exact_one():
    for level, end in ((CLEAN, 0), (Level(0, 1), 999), (Level(1e-6, 1), 999)):
        assert LAVIE.matching(level) == end
        with pytest.raises(ValueError, match=r"no timestep from 0 to 999 has the level"):
            LAVIE.t(level)


@pytest.mark.parametrize("t", [-1, -0.001, 999.001, 1000])
def test_a_timestep_outside_the_table_raises(t):
    with pytest.raises(IndexError, match=f"timestep {t} is outside 0..999"):
        LAVIE.level(t)


@pytest.mark.parametrize("table", [(0.5,), (0.9, 0.9), (0.5, 0.6), (1.1, 0.5), (0.5, -0.1)])
def test_a_table_that_does_not_fall_from_1_to_0_is_no_schedule(table):
    with pytest.raises(ValueError, match="a noise schedule"):
        Discrete(table)


def test_equal_schedules_are_equal_wherever_they_were_made():
    linear_again = pickle.loads(pickle.dumps(LAVIE))
    assert linear_again == LAVIE and hash(linear_again) == hash(LAVIE)
    assert BETA_SCHEDULES["linear"]() is LAVIE
    assert linear_again != ANIMATEDIFF


def test_what_a_plan_asks_is_known_without_torch():
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr

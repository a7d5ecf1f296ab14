from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler
from support.toy_experts import Knowing, Networked, tanh_network

from confiner_cli.method.estimate import Estimate
from confiner_cli.method.noise import keyed_noise
from confiner_cli.method.options import RefinementOptions
from confiner_cli.method.refinement import refinement_visits
from confiner_cli.method.schedule import Level, Schedule, linear, scaled_linear
from confiner_cli.method.structure import leading, sample, trailing
from confiner_cli.method.walk import Visit, walk

SHAPE = (1, 4, 3, 8, 8)
NOISE = keyed_noise(SHAPE, 0, "start")
LAVIE = {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}
ANIMATEDIFF = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}
STABLE_DIFFUSION = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def schedule_of(betas):
    made = {"linear": linear, "scaled_linear": scaled_linear}[betas["beta_schedule"]]
    return made(betas["beta_start"], betas["beta_end"])


def ours(betas, prediction_type, spacing, steps):
    denoiser = Networked(schedule_of(betas), prediction_type)
    chosen = spacing(denoiser.schedule, steps)
    visits = [Visit("spatial", denoiser, t) for t in chosen.timesteps]
    *_, last = sample(NOISE, visits, chosen)
    return last.x_t


def theirs(scheduler, steps):
    scheduler.set_timesteps(steps)
    x = NOISE * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(
            tanh_network(scheduler.scale_model_input(x, t), int(t)), t, x
        ).prev_sample
    return x


def fresh(number):
    return keyed_noise(SHAPE, 0, "fresh", number)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [20, 50])
@pytest.mark.parametrize("betas", [STABLE_DIFFUSION, LAVIE], ids=["stable_diffusion", "lavie"])
def test_a_walk_of_one_expert_on_the_leading_grid_is_diffusers_ddim(betas, steps, prediction_type):
    scheduler = DDIMScheduler(
        **betas,
        prediction_type=prediction_type,
        set_alpha_to_one=False,
        steps_offset=1,
        clip_sample=False,
    )
    expected = theirs(scheduler, steps)
    assert (
        ours(betas, prediction_type, leading, steps) - expected
    ).abs().max() < 1e-4 * expected.std()


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning:diffusers.schedulers"
)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [1, 4, 8])
def test_a_walk_of_one_expert_on_the_trailing_grid_is_diffusers_euler(steps, prediction_type):
    scheduler = EulerDiscreteScheduler(
        **ANIMATEDIFF, prediction_type=prediction_type, timestep_spacing="trailing"
    )
    expected = theirs(scheduler, steps)
    assert (
        ours(ANIMATEDIFF, prediction_type, trailing, steps) - expected
    ).abs().max() < 1e-4 * expected.std()


@dataclass(frozen=True)
class Velocity:
    """A flow-matching network, `v = eps - clean`: its timesteps are not whole."""

    schedule: Schedule

    def __call__(self, x_t, t):
        v, (signal, noise) = tanh_network(x_t, t), self.schedule.level(t)
        return Estimate(clean=x_t - noise * v, noise=x_t + signal * v)


class Straight:
    """Rectified flow's schedule."""

    num_train_timesteps = 1000

    def level(self, t):
        return Level(1 - t / 1000, t / 1000)

    def t(self, level):
        return 1000 * level.noise / (level.signal + level.noise)

    matching = t


def test_a_walk_on_straight_lines_is_flow_matchings_euler_from_pure_noise():
    denoiser, timesteps = Velocity(Straight()), [1000, 882.79, 600.5, 250.25]
    *_, last = walk(NOISE, [Visit("temporal", denoiser, t) for t in timesteps])
    x = NOISE
    for t, following in pairwise([*timesteps, 0]):
        x = x + (following - t) / 1000 * tanh_network(x, t)
    assert torch.allclose(last.x_t, x, atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_experts_that_know_the_answer_keep_it_however_often_the_sample_crosses(eta):
    clean = keyed_noise(SHAPE, 0, "clean").double()
    schedules = [scaled_linear(), linear(), linear(0.00085, 0.012)]
    visits = [
        Visit(str(n), Knowing(schedules[n % 3], clean), t, eta)
        for n, t in enumerate([900, 300, 300, 700, 20, 90])
    ]
    start = visits[0].level.mix(clean, NOISE.double())
    steps = list(walk(start, visits, fresh=fresh))
    for step, following in zip(steps, visits[1:], strict=False):
        recovered = following.denoiser(step.x_t, following.t).noise
        assert torch.allclose(step.x_t, following.level.mix(clean, recovered))
        if eta == 0:
            assert torch.allclose(recovered, NOISE.double(), atol=1e-6)
    assert torch.equal(steps[-1].x_t, clean)


def test_with_equal_schedules_and_predicted_noise_a_hop_at_the_same_timestep_is_the_identity():
    one, other = (
        Networked(linear(), "epsilon"),
        Networked(linear(), "v_prediction", lambda x, t: -x),
    )
    first, *_ = walk(NOISE.double(), [Visit("spatial", one, 400), Visit("temporal", other, 400)])
    assert torch.allclose(first.x_t, NOISE.double(), atol=1e-12)


def test_coordinated_denoising_needs_fresh_noise_else_the_temporal_expert_has_no_say():
    spatial = Networked(scaled_linear())
    strangers = [
        Networked(scaled_linear(), "v_prediction", lambda x, t, k=k: k * torch.sin(x))
        for k in (1, 2)
    ]

    def refined(pattern, temporal, renoise):
        options = RefinementOptions((pattern,) * 5, te=400, renoise=renoise)
        visits = refinement_visits(options, spatial, temporal)
        *_, last = walk(NOISE.double(), visits, fresh=fresh)
        return last.x_t

    alone = refined("standard", strangers[0], 0.0)
    for stranger in strangers:
        assert torch.allclose(refined("coordinated", stranger, 0.0), alone, atol=1e-10)
    with_fresh = [refined("coordinated", stranger, 1.0) for stranger in strangers]
    assert (with_fresh[0] - alone).abs().mean() > 0.1
    assert (with_fresh[0] - with_fresh[1]).abs().mean() > 0.01


def test_eta_mixes_predicted_and_fresh_noise_at_unit_variance():
    denoiser = Networked(scaled_linear())
    visits = [Visit("spatial", denoiser, 500), Visit("spatial", denoiser, 300, eta=0.6)]
    first, *_ = walk(NOISE, visits, fresh=fresh)
    expected = visits[1].level.mix(
        first.estimate.clean, 0.8 * first.estimate.noise + 0.6 * fresh(1)
    )
    assert torch.allclose(first.x_t, expected)


def test_a_visit_that_wants_fresh_noise_raises_where_there_is_none():
    denoiser = Networked(scaled_linear())
    steps = walk(NOISE, [Visit("spatial", denoiser, 500), Visit("spatial", denoiser, 300, eta=0.5)])
    with pytest.raises(ValueError, match=r"visit 1 .* eta 0.5"):
        list(steps)


def test_a_walk_asks_no_expert_before_its_step_is_wanted():
    asked = []

    def network(x, t):
        asked.append(t)
        return x

    visits = [Visit("spatial", Networked(linear(), network=network), t) for t in (300, 200, 100)]
    steps = walk(NOISE, visits)
    assert isinstance(steps, Iterator) and asked == []
    assert next(steps).visit.t == 300 and asked == [300]
    next(steps)
    assert asked == [300, 200]


def test_a_walk_leaves_its_input_alone():
    start = NOISE.clone()
    list(walk(start, [Visit("spatial", Networked(linear()), t) for t in (300, 100)]))
    assert torch.equal(start, NOISE)

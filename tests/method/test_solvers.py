"""Solvers with memory are diffusers' own, of their order, and forget what is of another path."""

from dataclasses import replace

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from support.pipelines import latents, pipeline_of
from support.toy_experts import Gaussian, Networked, tanh_network

from confiner_cli.method.noise import keyed_noise
from confiner_cli.method.options import RefinementOptions, StructureOptions
from confiner_cli.method.refinement import PATTERNS, refine, refinement_visits
from confiner_cli.method.schedule import Discrete, from_betas, linear, scaled_linear
from confiner_cli.method.solvers import SOLVERS
from confiner_cli.method.structure import sample, step_schedule, structure_visits
from confiner_cli.method.walk import MEMORY, Visit, walk

SHAPE = (1, 4, 3, 8, 8)
NOISE = keyed_noise(SHAPE, 0, "start")
STABLE_DIFFUSION, LAVIE = scaled_linear(), linear()
BETAS = {
    "stable_diffusion": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
    },
    "lavie": {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
}
SCHEDULES = {"stable_diffusion": STABLE_DIFFUSION, "lavie": LAVIE}
WITH_MEMORY = sorted(set(SOLVERS) - {"ddim"})
DIFFUSERS = {
    "dpmpp_2m": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    "unipc": (UniPCMultistepScheduler, {}),
}
OF_NUMPY = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning:diffusers.schedulers"
)


def fresh(number):
    return keyed_noise(SHAPE, 0, "fresh", number)


def ours(solver, denoiser, steps, noise):
    options = StructureOptions("spatial", steps, "trailing", solver)
    chosen = replace(step_schedule(options, denoiser.schedule), init_noise_sigma=1.0)
    *_, last = sample(noise, structure_visits(options, denoiser), chosen)
    return last.x_t


def theirs(solver, name, prediction_type, steps, noise):
    kind, settings = DIFFUSERS[solver]
    scheduler = kind(
        **BETAS[name],
        **settings,
        prediction_type=prediction_type,
        solver_order=2,
        final_sigmas_type="zero",
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(steps)
    if noise.dtype is torch.float64:  # their table is float32: give them ours
        levels = [SCHEDULES[name].level(int(t)) for t in scheduler.timesteps]
        ratios = [level.noise / level.signal for level in levels]
        scheduler.sigmas = torch.tensor([*ratios, 0.0], dtype=torch.float64)
    x = noise
    for t in scheduler.timesteps:
        x = scheduler.step(tanh_network(x, int(t)), t, x).prev_sample
    return x


@OF_NUMPY
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [5, 10, 20])
@pytest.mark.parametrize("name", BETAS)
@pytest.mark.parametrize("solver", WITH_MEMORY)
def test_a_walk_with_memory_is_diffusers_multistep_scheduler(solver, name, steps, prediction_type):
    denoiser = Networked(SCHEDULES[name], prediction_type)
    expected = theirs(solver, name, prediction_type, steps, NOISE)
    found = ours(solver, denoiser, steps, NOISE)
    assert (found - expected).abs().max() < 1e-5 * expected.std()
    first_order = ours("ddim", denoiser, steps, NOISE)
    assert (first_order - expected).abs().max() > 1e-3 * expected.std()


@OF_NUMPY
@pytest.mark.parametrize("steps", [5, 20])
@pytest.mark.parametrize("name", BETAS)
def test_in_float64_unipc_is_diffusers_to_the_last_bits(name, steps):
    """Their DPM-Solver++ steps in float32 whatever it is given."""
    expected = theirs("unipc", name, "epsilon", steps, NOISE.double())
    found = ours("unipc", Networked(SCHEDULES[name]), steps, NOISE.double())
    assert (found - expected).abs().max() < 1e-12 * expected.std()


def error_of(solver, steps):
    """How far from the exact solution for Gaussian data a walk between two levels ends.

    Along the probability flow `(x - signal * mean) / sqrt(signal^2 std^2 + noise^2)` is constant.
    """
    expert = Gaussian(LAVIE, 0.4, 0.5)
    start, end = LAVIE.level(900), LAVIE.level(100)

    def spread(level):
        return (level.signal**2 * expert.std**2 + level.noise**2) ** 0.5

    places = [900 - 800 * step / steps for step in range(steps)]
    visits = [Visit("spatial", expert, t, solve=SOLVERS[solver]) for t in places]
    x = start.signal * expert.mean + spread(start) * NOISE.double()
    *_, last = walk(x, visits, end=end)
    exact = end.signal * expert.mean + spread(end) * NOISE.double()
    return float((last.x_t - exact).abs().max())


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpmpp_2m", 2), ("unipc", 3)])
def test_twice_the_steps_leave_an_error_smaller_by_the_solvers_order(solver, order):
    """A corrector makes an order more of UniPC's 2."""
    coarse, fine = error_of(solver, 320), error_of(solver, 640)
    assert coarse / fine > 0.85 * 2**order
    assert fine > 1e-7  # not because there is no error at all


def test_more_memory_is_nearer_to_the_exact_solution():
    assert error_of("unipc", 20) < error_of("dpmpp_2m", 20) < error_of("ddim", 20)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_walk_from_pure_noise_is_the_limit_of_walks_from_almost_pure_noise(solver):
    """It comes as slowly as the logarithm of the signal grows."""
    table = from_betas([0.001 * 1.1**step for step in range(60)]).alphas_cumprod

    def end(last):
        denoiser = Networked(Discrete((*table, last)), "v_prediction")
        return ours(solver, denoiser, 6, NOISE.double())

    pure = end(0.0)
    distances = [float((end(last) - pure).abs().max()) for last in (1e-3, 1e-10, 1e-30, 1e-300)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 2e-3 * pure.std()


@pytest.mark.parametrize("solver", WITH_MEMORY)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_nothing_is_remembered_across_fresh_noise_or_a_hand_over(pattern, solver):
    experts = Networked(STABLE_DIFFUSION), Networked(LAVIE, "v_prediction")
    ends = {}
    for name in (solver, "ddim"):
        options = RefinementOptions((pattern,) * 4, 400, solver=name)
        visits = refinement_visits(options, *experts)
        *_, last = refine(NOISE.double(), visits, fresh)
        ends[name] = last.x_t
    remembers = any(
        now.role == before.role and now.eta == 0 and after.level != now.level
        for before, now, after in zip(visits, visits[1:], visits[2:], strict=False)
    )
    assert torch.allclose(ends[solver], ends["ddim"]) != remembers


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2])
def test_the_first_step_and_the_one_to_clean_are_of_first_order(solver, steps):
    """UniPC has corrected the second one's sample by then, which leaves its clean latents alone."""
    denoiser = Networked(STABLE_DIFFUSION, "v_prediction")
    assert torch.allclose(
        ours(solver, denoiser, steps, NOISE), ours("ddim", denoiser, steps, NOISE)
    )


def test_a_walk_keeps_no_more_history_than_a_solver_reads():
    seen = []

    def solve(history):
        seen.append([evaluation.visit.t for evaluation in history])
        return history[-1].estimate

    denoiser = Networked(LAVIE)
    list(walk(NOISE, [Visit("spatial", denoiser, t, solve=solve) for t in (500, 400, 300, 200)]))
    assert seen == [[500], [500, 400], [500, 400, 300], [400, 300, 200]] and MEMORY == 3


def test_a_solver_is_shown_each_sample_its_level_and_the_next_level():
    shown = []

    def solve(history):
        shown.append(history[-1])
        return history[-1].estimate

    denoiser = Networked(LAVIE)
    visits = [Visit("spatial", denoiser, t, solve=solve) for t in (500, 300)]
    steps = list(walk(NOISE, visits))
    assert [each.level for each in shown] == [LAVIE.level(500), LAVIE.level(300)]
    assert [each.next_level for each in shown] == [LAVIE.level(300), (1, 0)]
    assert torch.equal(shown[0].x_t, NOISE) and torch.equal(shown[1].x_t, steps[0].x_t)


@pytest.mark.parametrize("solver", WITH_MEMORY)
def test_both_stages_take_their_options_solver(solver):
    plain = latents(pipeline_of(refinement=RefinementOptions(("standard",) * 5)))
    refined = RefinementOptions(("standard",) * 5, solver=solver)
    assert not torch.allclose(latents(pipeline_of(refinement=refined)), plain)
    structure = StructureOptions(solver=solver)
    assert not torch.allclose(latents(pipeline_of(structure, RefinementOptions(()))),
                              latents(pipeline_of(refinement=RefinementOptions(()))))  # fmt: skip

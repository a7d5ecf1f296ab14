"""Flow models on the same walk: diffusers' samplings of them, and what their timesteps mean."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from support.toy_experts import Networked, tanh_network

from confiner_cli.method.flow import Flow, dynamic_shift
from confiner_cli.method.options import StructureOptions
from confiner_cli.method.schedule import Level, scaled_linear
from confiner_cli.method.solvers import SOLVERS
from confiner_cli.method.structure import StepSchedule, sample, step_schedule
from confiner_cli.method.walk import CLEAN, Visit

SHAPE = (1, 4, 3, 8, 8)
UNIPC = {
    "ddim": {"solver_order": 1, "disable_corrector": list(range(20))},
    "unipc": {"solver_order": 2},
}
"""diffusers' UniPC, by the names of the solvers that it is."""


def noise():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def unipc(solver, shift, count):
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}
    scheduler = UniPCMultistepScheduler(**flow, **UNIPC[solver])
    scheduler.set_timesteps(count)
    return scheduler


def ours(schedule, steps, start, solver="ddim"):
    expert = Networked(schedule, "flow_prediction")
    visits = [Visit("temporal", expert, t, solve=SOLVERS[solver]) for t in steps.timesteps]
    *_, last = sample(start, visits, steps)
    return last.x_t


def theirs(scheduler, start):
    """Its steps; the network is told where it is, and not the whole number that is nearest."""
    x = start
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        x = scheduler.step(tanh_network(x, 1000 * float(sigma)), t, x).prev_sample
    return x


@pytest.mark.parametrize("shift", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("count", [3, 4, 20])
@pytest.mark.parametrize("solver", UNIPC)
def test_the_walk_is_diffusers_unipc(solver, shift, count):
    scheduler = unipc(solver, shift, count)
    steps = step_schedule(StructureOptions(num_inference_steps=count), Flow(shift))
    assert steps.timesteps == pytest.approx((1000 * scheduler.sigmas[:-1]).tolist(), abs=1e-4)
    expected = theirs(scheduler, noise())
    found = ours(Flow(shift), steps, noise(), solver)
    assert (found - expected).abs().max() < 1e-5 * expected.std()


@pytest.mark.parametrize("solver", UNIPC)
def test_in_float64_the_walk_is_diffusers_unipc_to_the_last_bits(solver):
    """From almost pure noise, where their float32 decides how much a solver remembers."""
    scheduler, start = unipc(solver, 3.0, 10), noise().double()
    steps = step_schedule(StructureOptions(num_inference_steps=10), Flow(3.0))
    assert steps.timesteps[0] == 1000 * float(scheduler.sigmas[0]) < 1000
    sigmas = [t / 1000 for t in steps.timesteps]  # theirs are float32: give them ours
    scheduler.sigmas = torch.tensor([*sigmas, 0.0], dtype=torch.float64)
    expected = theirs(scheduler, start)
    found = ours(Flow(3.0), steps, start, solver)
    assert (found - expected).abs().max() < 1e-12 * expected.std()


@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_the_walk_is_diffusers_euler_on_its_own_sigmas(shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(6)
    steps = StepSchedule(tuple(scheduler.timesteps.tolist()), 1.0, CLEAN)
    expected = theirs(scheduler, noise())
    found = ours(Flow(shift), steps, noise())
    assert (found - expected).abs().max() < 1e-5 * expected.std()


def test_a_timestep_is_a_share_of_noise_and_back():
    flow = Flow(shift=3.0)
    assert flow.level(937.5) == Level(0.0625, 0.9375) and flow.level(1000) == Level(0.0, 1.0)
    for t in (0.0, 1.0, 522.0, 937.5, 1000.0):
        assert flow.t(flow.level(t)) == pytest.approx(t)
    assert flow.matching(scaled_linear().level(100)) == pytest.approx(256, abs=0.5)
    with pytest.raises(IndexError):
        flow.level(1000.1)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 8.0, 12.0])
def test_whole_timesteps_are_those_that_diffusers_unipc_tells_a_network(shift):
    flow = Flow(shift, whole=True)
    for count in (*range(1, 51), 100):
        scheduler = UniPCMultistepScheduler(use_flow_sigmas=True, flow_shift=shift)
        scheduler.set_timesteps(count)
        assert [flow.told(t) for t in flow.steps(count)] == scheduler.timesteps.tolist()


@pytest.mark.parametrize("tokens", [256, 1000, 4096, 32760])
def test_a_dynamic_shift_is_diffusers(tokens):
    scheduler = UniPCMultistepScheduler(use_flow_sigmas=True, use_dynamic_shifting=True)
    mu = calculate_shift(tokens, 256, 4096, 0.5, 1.15)
    scheduler.set_timesteps(6, mu=mu)
    steps = Flow(dynamic_shift(tokens, 0.5, 1.15)).steps(6)
    assert steps == pytest.approx((1000 * scheduler.sigmas[:-1]).tolist(), abs=2e-3)


def test_a_shift_keeps_the_ends_and_stays_longer_at_high_noise():
    assert Flow(1.0).shifted(0.3) == pytest.approx(0.3)
    assert (Flow(8.0).shifted(0.0), Flow(8.0).shifted(1.0)) == (0.0, 1.0)
    assert Flow(8.0).shifted(0.3) > 0.7
    official = [1000 * Flow(8.0).shifted(1 - step / 3) for step in range(3)]
    assert official == pytest.approx([1000, 941.2, 800], abs=0.1)

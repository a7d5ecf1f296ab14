"""The structure stage: one expert samples a coarse video from noise (the paper's control stage)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from confiner_cli.method.flow import Flow
from confiner_cli.method.options import StructureOptions
from confiner_cli.method.schedule import CLEAN, Level, Schedule
from confiner_cli.method.solvers import SOLVERS
from confiner_cli.method.tensor import Tensor
from confiner_cli.method.walk import Denoiser, Step, Visit, Visited, walk


@dataclass(frozen=True)
class StepSchedule:
    """The timesteps of a sampling from noise.

    Attributes:
        timesteps: from the noisiest down.
        init_noise_sigma: what standard normal noise is scaled by at the start (diffusers' name).
        end: the level that the last step leads to.
    """

    timesteps: tuple[float, ...]
    init_noise_sigma: float
    end: Level


def trailing(schedule: Schedule, num_inference_steps: int) -> StepSchedule:
    """From the last timestep down, ending clean: diffusers' Euler with "trailing" spacing.

    Euler starts from noise alone, scaled to the noise of the first level.
    """
    count, steps = schedule.num_train_timesteps, num_inference_steps
    timesteps = tuple(round(count - step * count / steps) - 1 for step in range(steps))
    return StepSchedule(timesteps, schedule.level(timesteps[0]).noise, end=CLEAN)


def leading(schedule: Schedule, num_inference_steps: int, steps_offset: int = 1) -> StepSchedule:
    """Multiples of a whole stride, ending at timestep 0: diffusers' DDIM as SD configures it."""
    stride = schedule.num_train_timesteps // num_inference_steps
    steps = reversed(range(num_inference_steps))
    timesteps = tuple(step * stride + steps_offset for step in steps)
    return StepSchedule(timesteps, init_noise_sigma=1.0, end=schedule.level(0))


SPACINGS: dict[str, Callable[[Schedule, int], StepSchedule]] = {
    "trailing": trailing,
    "leading": leading,
}
"""Where the timesteps of a structure lie, by diffusers' names."""


def listed(schedule: Schedule, timesteps: Sequence[float]) -> StepSchedule:
    """These timesteps, from noise alone, ending clean: what a distilled model was made for."""
    return StepSchedule(tuple(timesteps), schedule.level(timesteps[0]).noise, end=CLEAN)


def step_schedule(options: StructureOptions, schedule: Schedule) -> StepSchedule:
    """The steps that the options mean on an expert's schedule; a flow model has its own spacing."""
    if options.timesteps:
        return listed(schedule, options.timesteps)
    if isinstance(schedule, Flow):
        steps = schedule.steps(options.num_inference_steps)
        return StepSchedule(steps, init_noise_sigma=1.0, end=CLEAN)
    return SPACINGS[options.timestep_spacing](schedule, options.num_inference_steps)


def structure_visits(options: StructureOptions, expert: Visited) -> list[Visit[Visited]]:
    """All visits of a structure: one expert's, down its step schedule."""
    steps = step_schedule(options, expert.schedule)
    solve, eta = SOLVERS[options.solver], options.renoise
    return [Visit(options.expert, expert, t, eta, solve) for t in steps.timesteps]


def sample(
    noise: Tensor,
    visits: Sequence[Visit[Denoiser]],
    steps: StepSchedule,
    fresh: Callable[[int], Tensor] | None = None,
) -> Iterator[Step]:
    """Walk noise down the visits of a step schedule; the last step leaves with V0.

    Args:
        noise: standard normal, `(batch, channel, frame, height, width)`.
        visits: at the timesteps of `steps`.
        steps: says how the noise is scaled, and where the walk ends.
        fresh: as `walk` takes it.
    """
    return walk(steps.init_noise_sigma * noise, visits, end=steps.end, fresh=fresh)

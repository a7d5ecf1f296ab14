"""The structure stage: one expert samples a coarse video from noise (the paper's control stage)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confiner_cli.method.schedule import CLEAN, Level, Schedule
from confiner_cli.method.walk import Denoiser, Step, Visit, walk

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The timesteps of a sampling from noise to clean, what its first noise is scaled by, and where it ends."""

    timesteps: tuple[float, ...]
    scale: float
    end: Level


def trailing(schedule: Schedule, num_inference_steps: int) -> Grid:
    """From the last timestep down, ending clean: diffusers' Euler with `timestep_spacing="trailing"`."""
    count = schedule.num_train_timesteps
    timesteps = tuple(
        round(count - step * count / num_inference_steps) - 1 for step in range(num_inference_steps)
    )
    return Grid(timesteps, scale=schedule.level(timesteps[0]).noise, end=CLEAN)


def leading(schedule: Schedule, num_inference_steps: int, steps_offset: int = 1) -> Grid:
    """Multiples of a whole stride, ending at timestep 0: diffusers' DDIM as Stable Diffusion configures it."""
    stride = schedule.num_train_timesteps // num_inference_steps
    timesteps = tuple(step * stride + steps_offset for step in reversed(range(num_inference_steps)))
    return Grid(timesteps, scale=1.0, end=schedule.level(0))


SPACINGS = {"trailing": trailing, "leading": leading}


def sample(noise: Tensor, denoisers: Sequence[Denoiser], role: str, grid: Grid) -> Iterator[Step]:
    """Walk standard normal `noise`, `(1, channel, frame, height, width)`, down the grid; the last step has V0.

    `denoisers` is the expert of each step: `role`, pulled to what differs from step to step.
    """
    visits = [
        Visit(role, denoiser, t) for denoiser, t in zip(denoisers, grid.timesteps, strict=True)
    ]
    return walk(grid.scale * noise, visits, end=grid.end)

"""Rectified flow (Liu et al., arXiv 2209.03003): from clean latents to noise on a straight line.

`x_t = (1 - sigma) * clean + sigma * eps`, and a network answers `v = eps - clean`. Its timestep is
the sigma, counted in thousands: there is no table, and every number between is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from confiner_cli.method.schedule import Level, flow_level

NOISIEST = 1 - 17 / 2**24
"""The sigma that even steps begin at: what float32 makes of 1 - 1e-6, as in diffusers' UniPC.

At pure noise the log-SNR is infinite, and a solver with memory would make nothing of the estimate.
"""


@dataclass(frozen=True)
class Flow:
    """The schedule of a flow model.

    Attributes:
        shift: how much longer its steps stay at high noise (arXiv 2403.03206, eq. 23); 1 is not at
            all. It moves the timesteps of a sampling, and changes nothing of what they mean.
        num_train_timesteps: what its network counts pure noise as.
        whole: whether its network is told whole timesteps, cut off and below the last: as
            diffusers' UniPC, and Wan's own, count them.
    """

    shift: float = 1.0
    num_train_timesteps: int = 1000
    whole: bool = False

    @property
    def last_timestep(self) -> int:
        """Pure noise."""
        return self.num_train_timesteps

    def level(self, t: float) -> Level:
        """The level at timestep `t`. Raises IndexError outside `[0, num_train_timesteps]`."""
        if not 0 <= t <= self.num_train_timesteps:
            raise IndexError(f"timestep {t:g} is outside 0..{self.num_train_timesteps}")
        return flow_level(t / self.num_train_timesteps)

    def t(self, level: Level) -> float:
        """The timestep with the noise-to-signal ratio of `level`: every level has one."""
        return self.num_train_timesteps * level.sigma

    def matching(self, level: Level) -> float:
        """The same: it was trained on all of them."""
        return self.t(level)

    def trained(self, t: float) -> float:
        """The timestep itself: it was trained on all of them."""
        return t

    def told(self, t: float) -> float:
        """The timestep, or the whole one below it."""
        return min(math.floor(t), self.num_train_timesteps - 1) if self.whole else t

    def steps(self, num_inference_steps: int) -> tuple[float, ...]:
        """Timesteps of even steps from almost pure noise to clean, shifted once.

        As diffusers' UniPC has them with `use_flow_sigmas` and `flow_shift`. Its
        `FlowMatchEulerDiscreteScheduler` shifts its ends before it divides the way, and then all of
        it (diffusers#13243): with few steps its last one is wasted.
        """
        # In NumPy's order, so that whole timesteps are cut off where diffusers cuts them off.
        step = (1 / self.num_train_timesteps - 1) / num_inference_steps
        first, *others = (self.shifted(number * step + 1) for number in range(num_inference_steps))
        return tuple(self.num_train_timesteps * sigma for sigma in (min(first, NOISIEST), *others))

    def shifted(self, sigma: float) -> float:
        """Where a step at `sigma`, in [0, 1], goes to."""
        return self.shift * sigma / (1 + (self.shift - 1) * sigma)


def dynamic_shift(
    tokens: int,
    base_shift: float,
    max_shift: float,
    base_image_seq_len: int = 256,
    max_image_seq_len: int = 4096,
) -> float:
    """`Flow.shift` for so many tokens of a sample: diffusers' `calculate_shift`, and its names.

    The logarithm is on a line from `base_shift` at `base_image_seq_len` tokens to `max_shift` at
    `max_image_seq_len`, and goes on beyond them.
    """
    way = (tokens - base_image_seq_len) / (max_image_seq_len - base_image_seq_len)
    return math.exp(base_shift + way * (max_shift - base_shift))
